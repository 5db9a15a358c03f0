"""Gains, intervals, chance of harm and words."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from studies import SETTING, make_study

from aggregator.recommender import NO_TRANSFER, LearnedRecommender
from aggregator.study import Setting
from federation.errors import UnknownNameError


def test_every_allowed_source_and_no_transfer_are_ranked_once():
    study = make_study(10, groups={"g": ("t00", "t01", "t02")})
    forecasts = LearnedRecommender.fit(study, SETTING).forecast("t00")
    assert [f.rank for f in forecasts] == list(range(1, 9))
    assert {f.source for f in forecasts} == {*study.tasks[3:], NO_TRANSFER}
    assert sorted(forecasts, key=lambda f: -f.gain) == forecasts


def test_no_transfer_comes_before_every_source_that_is_expected_to_harm():
    study = make_study(16, source_effect=1.0)
    outcomes = study.outcomes[SETTING]
    harmful = replace(study, outcomes={SETTING: replace(outcomes, baseline=outcomes.baseline + 0.2)})
    forecasts = LearnedRecommender.fit(harmful, SETTING).forecast("t00")
    assert forecasts[0].source == NO_TRANSFER
    assert all(f.gain < 0 and f.chance_of_harm > 0.5 for f in forecasts[1:])


def test_the_gain_of_a_source_is_found_where_all_targets_agree():
    study = make_study(20, source_effect=1.0, noise=0.1)
    truth = np.nanmean(study.outcomes[SETTING].performance - 0.7, axis=1)
    forecasts = LearnedRecommender.fit(study, SETTING).forecast("t04")
    error = [f.gain - truth[study.index[f.source]] for f in forecasts if f.source != NO_TRANSFER]
    assert np.sqrt(np.mean(np.square(error))) < 0.007


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_intervals_hold_the_gains_of_targets_never_measured(level):
    covered = []
    for seed in range(4):
        study = make_study(24, source_effect=0.7, noise=0.7, seed=seed)
        recommender = LearnedRecommender.fit(study, SETTING)
        for target in range(0, 24, 3):
            unseen = recommender.unseen(target)
            gains = recommender.gains(target)
            sources = np.flatnonzero(np.isfinite(recommender.evidence.gain[:, target]))
            low, high = gains.interval(unseen.predict(sources, target)[0], level)
            truth = recommender.evidence.gain[sources, target]
            covered.append(np.mean((truth >= low) & (truth <= high)))
    # Wider rather than narrower: the prior counts for a few targets and has heavier tails than these.
    assert level - 0.03 <= np.mean(covered) <= level + 0.09


def test_the_chance_of_harm_falls_as_the_gain_grows_and_is_calibrated():
    study = make_study(24, source_effect=1.0, noise=0.5)
    recommender = LearnedRecommender.fit(study, SETTING)
    predicted, happened = [], []
    for target in study.tasks:
        found = {f.source: f for f in recommender.forecast(target) if f.source != NO_TRANSFER}
        ordered = sorted(found.values(), key=lambda f: f.gain)
        assert all(a.chance_of_harm >= b.chance_of_harm for a, b in pairwise(ordered))
        gains = recommender.evidence.gain[:, study.index[target]]
        predicted += [f.chance_of_harm for f in found.values()]
        happened += [gains[study.index[name]] < 0 for name in found]
    base_rate = np.mean(happened)
    brier = np.mean((np.array(predicted) - happened) ** 2)
    assert np.mean(predicted) == pytest.approx(base_rate, abs=0.05)
    assert brier < 0.7 * base_rate * (1 - base_rate)


def test_without_outcomes_the_prior_speaks_with_wide_intervals():
    study = replace(make_study(8), outcomes={})
    for scenario, harmful in (("augmentation", False), ("pretraining", True)):
        best = LearnedRecommender.fit(study, Setting(scenario, "auroc")).forecast("t00")[0]
        assert (best.source == NO_TRANSFER) == harmful
        assert best.source == NO_TRANSFER or best.high - best.low > 0.02
        assert "not measured as a source yet" in best.reasons or best.source == NO_TRANSFER


def test_outcomes_without_a_baseline_still_rank_and_fall_back_to_the_prior_for_gains():
    study = make_study(12)
    outcomes = study.outcomes[SETTING]
    bare = replace(
        study, outcomes={SETTING: replace(outcomes, baseline=np.full_like(outcomes.baseline, np.nan))}
    )
    ours = LearnedRecommender.fit(bare, SETTING).forecast("t00")
    full = LearnedRecommender.fit(study, SETTING).forecast("t00")
    rank = [[f.source for f in found if f.source != NO_TRANSFER] for found in (ours, full)]
    assert rank[0] == rank[1]
    assert any("better than most sources at" in reason for f in ours for reason in f.reasons)


def test_reasons_count_how_often_a_source_helped():
    study = make_study(20, source_effect=1.0, noise=0.05)
    best = next(f for f in LearnedRecommender.fit(study, SETTING).forecast("t02") if f.source != NO_TRANSFER)
    assert "helped 9 of 9 similar targets" in best.reasons
    assert 1 <= len(best.reasons) <= 3


def test_the_same_study_gives_the_same_forecast_to_the_last_bit():
    first, second = (LearnedRecommender.fit(make_study(15), SETTING).forecast("t05") for _ in range(2))
    assert repr(first) == repr(second)


def test_an_unknown_target_is_named():
    with pytest.raises(UnknownNameError, match="no task 'nowhere'"):
        LearnedRecommender.fit(make_study(5), SETTING).forecast("nowhere")


@pytest.mark.parametrize("n_tasks", [1, 2, 3])
def test_tiny_consortia_get_an_answer(n_tasks):
    forecasts = LearnedRecommender.fit(make_study(n_tasks), SETTING).forecast("t00")
    assert len(forecasts) == n_tasks
    assert all(np.isfinite([f.gain, f.low, f.high]).all() for f in forecasts)


def test_gains_of_a_metric_on_another_scale_are_the_same_gains_on_that_scale():
    study = make_study(20, source_effect=1.0, noise=0.4)
    outcomes = study.outcomes[SETTING]
    per_cent = replace(outcomes, values=100 * outcomes.values, baseline=100 * outcomes.baseline)
    scaled = replace(study, outcomes={SETTING: per_cent})
    covered = []
    for target in (0, 5, 10):
        recommender = LearnedRecommender.fit(scaled, SETTING)
        for each in recommender.forecast(study.tasks[target]):
            if each.source != NO_TRANSFER:
                gain = recommender.evidence.gain[study.index[each.source], target]
                covered.append(each.low <= gain <= each.high)
                assert each.low < each.gain < each.high
    assert np.mean(covered) > 0.7


def test_a_reason_that_speaks_against_a_source_says_but():
    study = make_study(20, source_effect=1.0, noise=0.05)
    forecasts = LearnedRecommender.fit(study, SETTING).forecast("t02")
    worst = next(f for f in reversed(forecasts) if f.source != NO_TRANSFER)
    assert "but helped only 0 of 9" in worst.reasons
