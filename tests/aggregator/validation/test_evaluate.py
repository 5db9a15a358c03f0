"""Selectors judged on whole studies."""

import numpy as np
import pytest
from scipy.stats import boxcox, weightedtau, zscore
from study_files import SETTING, make_study, random_performance

from aggregator.validation.evaluate import evaluate, target_scores
from aggregator.validation.metrics import METRICS
from aggregator.validation.selectors import Selector, by_distance, selectors

ORACLE = Selector("oracle", lambda study, setting: study.outcomes[setting].performance)
REVERSED = Selector("reversed", lambda study, setting: -study.outcomes[setting].performance)


def results_of(study, *judged):
    return {result.selector: result for result in evaluate(study, judged)}


def test_an_oracle_has_tau_one_first_choice_percentile_one_and_the_lowest_regret():
    study = make_study(random_performance(8), baseline=0.6)
    found = results_of(study, ORACLE, REVERSED)
    assert found["oracle"].means["weighted_tau"] == pytest.approx(1)
    assert found["oracle"].means["best_of_3_percentile"] == 1
    assert found["oracle"].means["regret_at_3"] < found["random"].means["regret_at_3"]
    assert found["reversed"].means["weighted_tau"] == pytest.approx(-1)
    assert found["oracle"].win_rate > found["reversed"].win_rate


def test_with_three_equal_best_sources_an_oracle_has_no_regret_at_all():
    performance = np.tile(np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.4])[:, None], 6)
    means = results_of(make_study(performance), ORACLE)["oracle"].means
    assert means["regret_at_3"] == 0


def test_a_ranking_drawn_at_random_falls_into_the_null_interval():
    study = make_study(random_performance(30))
    luck = Selector("luck", lambda study, setting: np.random.default_rng(5).normal(size=(30, 30)))
    found = results_of(study, luck)
    low, high = found["random"].intervals["weighted_tau"]
    assert low < found["luck"].means["weighted_tau"] < high
    assert found["luck"].means["percentile_at_3"] == pytest.approx(
        found["random"].means["percentile_at_3"], abs=0.08
    )


def test_sources_that_share_images_with_a_target_do_not_count():
    performance = random_performance(5)[0]
    performance[0, 1] = 1.0
    affinity = np.where(performance == 1.0, 10.0, performance)
    honest = make_study(performance, groups={"same images": ("t0", "t1")})
    scores = target_scores(honest, SETTING, -affinity[None])[0]
    assert scores[1, METRICS.index("weighted_tau")] == pytest.approx(-1)
    assert scores[1, METRICS.index("best_of_3_percentile")] == 1
    assert scores[1, METRICS.index("percentile_at_3")] == pytest.approx(2 / 3)


def test_seeds_are_averaged_before_targets_are_scored():
    values = random_performance(6, n_seeds=3)
    found = results_of(make_study(values), ORACLE)["oracle"].means["weighted_tau"]
    assert found == pytest.approx(1)


def test_results_are_means_over_targets():
    study = make_study(random_performance(6), {"near": random_performance(6, seed=3)[0]})
    expected = []
    for t in range(6):
        others = [s for s in range(6) if s != t]
        performance = study.outcomes[SETTING].performance[others, t]
        expected.append(weightedtau(-study.distances["near"][others, t], performance).statistic)
    result = results_of(study, by_distance("near"))["near"]
    assert result.means["weighted_tau"] == pytest.approx(np.mean(expected))
    assert result.n_targets == 6


def test_two_equal_selectors_share_every_win():
    study = make_study(random_performance(5, n_seeds=2), baseline=0.7)
    twin = Selector("twin", ORACLE.affinity)
    found = results_of(study, ORACLE, twin)
    assert (found["oracle"].win_rate, found["twin"].win_rate) == (1, 1)
    assert np.isnan(found["random"].win_rate)


def test_without_baselines_gains_are_null_and_rankings_are_not():
    study = make_study(random_performance(5))
    entry = results_of(study, ORACLE)["oracle"].to_json()
    assert entry["improvement_rate"] == [None] * 5
    assert entry["negative_transfer_rate"] is None
    assert entry["weighted_tau"] == pytest.approx(1)


def test_the_largest_source_is_preferred():
    study = make_study(random_performance(4), sizes=[10, 40, 30, 20])
    largest = selectors(study)[-1]
    assert largest.name == "largest_source"
    assert largest.affinity(study, SETTING)[:, 0].tolist() == [10, 40, 30, 20]


def test_without_sizes_nothing_is_chosen_by_size():
    study = make_study(random_performance(4), {"p2l_without_size": np.ones((4, 4))})
    assert [each.name for each in selectors(study)] == ["p2l_without_size"]


def test_p2l_adds_the_standardised_size_to_the_similarity():
    distance, sizes = random_performance(5, seed=2)[0], np.array([100.0, 300, 900, 250, 5000])
    study = make_study(random_performance(5), {"p2l_without_size": distance}, sizes=sizes)
    with_size = next(each for each in selectors(study) if each.name == "p2l_with_size")
    others = [1, 2, 3, 4]
    expected = 1.5 * zscore(-distance[others, 0]) + zscore(boxcox(sizes)[0])[others]
    np.testing.assert_allclose(with_size.affinity(study, SETTING)[others, 0], expected, rtol=1e-9)


def test_a_study_in_which_no_target_has_a_choice_gives_nulls():
    performance = np.full((3, 3), np.nan)
    performance[0, 1] = 0.5
    entry = results_of(make_study(performance), ORACLE)["oracle"].to_json()
    assert entry["n_targets"] == 0
    assert entry["weighted_tau"] is None
    assert entry["weighted_tau_ci"] is None
