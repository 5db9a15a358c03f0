"""The Gaussian process over pairs: held-out predictions, pooling, what it may look at."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import weightedtau
from studies import SETTING, make_study

from aggregator.recommender.evidence import Evidence
from aggregator.recommender.learned import LearnedRecommender
from aggregator.recommender.standing import Components, Standing, Terms
from aggregator.study import Setting


def mean_tau(recommender, study):
    performance = study.outcomes[SETTING].performance
    scores = recommender.standings
    return np.mean(
        [
            weightedtau(scores[ok, t], performance[ok, t]).statistic
            for t in range(len(study.tasks))
            for ok in [np.isfinite(scores[:, t])]
        ]
    )


def terms_of(study):
    evidence = Evidence(study, SETTING)
    return Terms(evidence, evidence.identical_sources(), Components())


def test_block_held_out_predictions_equal_those_of_a_model_that_never_saw_the_target():
    study = make_study(12, groups={"shared images": ("t02", "t05")})
    terms = terms_of(study)
    everything = Standing.fit(terms)
    for target in (0, 2):
        family = terms.evidence.family(target)
        refitted = Standing.fit(terms, ~everything.outcomes_of(family))
        sources = np.flatnonzero(terms.evidence.allowed[:, target])
        expected = refitted.predict(sources, target)
        reduced = everything.without(family).predict(sources, target)
        np.testing.assert_allclose(reduced[0], expected[0], atol=1e-9)
        np.testing.assert_allclose(reduced[1], expected[1], atol=1e-9)
        out = everything.outcomes_of(family)
        own = everything.targets[out] == target
        np.testing.assert_allclose(everything.held_out(family)[own], expected[0], atol=1e-9)


def test_the_parts_of_a_prediction_add_up():
    terms = terms_of(make_study(10))
    mean, _, parts = Standing.fit(terms).predict(np.arange(1, 10), 0)
    np.testing.assert_allclose(sum(parts.values()), mean, atol=1e-12)


def test_good_sources_are_found_from_their_history():
    study = make_study(20, source_effect=1.0, noise=0.5)
    assert mean_tau(LearnedRecommender.fit(study, SETTING), study) > 0.7


def test_outcomes_that_are_noise_give_no_signal():
    study = make_study(24, source_effect=0.0, noise=1.0)
    assert abs(mean_tau(LearnedRecommender.fit(study, SETTING), study)) < 0.15


def test_without_outcomes_the_nearest_source_comes_first():
    study = replace(make_study(15), outcomes={})
    forecasts = LearnedRecommender.fit(study, SETTING).forecast("t03")
    standing = [f for f in forecasts if np.isfinite(f.standing)]
    by_standing = [f.source for f in sorted(standing, key=lambda f: -f.standing)]
    nearest = np.argsort(study.distances["cramer"][:, 3])[:14]
    assert by_standing == [study.tasks[i] for i in nearest]


def test_few_outcomes_move_the_order_of_the_distances_only_a_little():
    full = make_study(20, source_effect=1.0, nearness_effect=0.0)
    outcomes = full.outcomes[SETTING]
    values = outcomes.values.copy()
    values[:, :, 1:] = np.nan
    one_target = replace(full, outcomes={SETTING: replace(outcomes, values=values)})
    mean = {
        name: LearnedRecommender.fit(study, SETTING).unseen(5).predict(np.arange(6, 20), 5)[0]
        for name, study in (("none", replace(full, outcomes={})), ("one", one_target), ("all", full))
    }
    moved = {name: np.sqrt(np.mean((mean[name] - mean["none"]) ** 2)) for name in ("one", "all")}
    assert 0 < moved["one"] < 0.6 * moved["all"]


def test_an_untested_source_is_less_certain_than_a_tested_one():
    study = make_study(16)
    values = study.outcomes[SETTING].values.copy()
    values[:, 7] = np.nan
    untested = replace(study, outcomes={SETTING: replace(study.outcomes[SETTING], values=values)})
    _, deviation, _ = LearnedRecommender.fit(untested, SETTING).unseen(0).predict(np.array([6, 7]), 0)
    assert deviation[1] > 1.3 * deviation[0]


@pytest.mark.parametrize("role", ["target", "member of its group"])
def test_outcomes_of_the_target_and_of_its_group_are_never_used(role):
    groups = {"same images": ("t01", "t04")}
    study = make_study(14, groups=groups)
    place = 1 if role == "target" else 4
    values = study.outcomes[SETTING].values.copy()
    values[:, :, place] = np.random.default_rng(9).random(values[:, :, place].shape)
    values[:, place, place] = np.nan
    changed = replace(study, outcomes={SETTING: replace(study.outcomes[SETTING], values=values)})
    original = LearnedRecommender.fit(study, SETTING)
    other = LearnedRecommender.fit(changed, SETTING)
    for a, b in zip(original.forecast("t01"), other.forecast("t01"), strict=True):
        assert (a.source, a.reasons) == (b.source, b.reasons)
        numbers = [(x.gain, x.low, x.high, x.chance_of_harm, x.deviation) for x in (a, b)]
        np.testing.assert_allclose(*numbers, atol=1e-9)


ARCHITECTURE = Setting("architecture", "auroc")


def with_values(study, values):
    outcomes = replace(study.outcomes[ARCHITECTURE], values=values)
    return replace(study, outcomes={ARCHITECTURE: outcomes})


def twins(n_seeds=1):
    """Fourteen sources, of which 3 and 8 pass on the same architecture."""
    study = make_study(14, n_seeds=n_seeds, setting=ARCHITECTURE)
    values = study.outcomes[ARCHITECTURE].values.copy()
    both = np.setdiff1d(np.arange(14), [3, 8])
    values[:, 8, both] = values[:, 3, both]
    return with_values(study, values)


def test_sources_that_pass_on_the_same_architecture_are_recognised():
    identical = Evidence(twins(), ARCHITECTURE).identical_sources()
    assert identical[3, 8] == 1
    assert identical.sum() == 14 + 2


def test_what_one_source_did_speaks_for_its_twin():
    study = twins()
    values = study.outcomes[ARCHITECTURE].values.copy()
    values[:, 8, 4:] = np.nan  # hardly measured itself
    gap = {}
    for shared in (1e-9, 0.5):
        components = Components(source=1e-9, relatives=1e-9, distance=1e-9, facts=1e-9, identical=shared)
        recommender = LearnedRecommender.fit(with_values(study, values), ARCHITECTURE, components)
        _, _, parts = recommender.unseen(9).predict(np.array([3, 8]), 9)
        gap[shared] = abs(parts["identical"][0] - parts["identical"][1]), abs(parts["identical"][1])
    assert gap[0.5][0] == pytest.approx(0, abs=1e-9)
    assert gap[0.5][1] > 0.05 > 1e-6 > gap[1e-9][1]


def test_weights_and_data_are_never_the_same_at_two_sources():
    study = twins()
    pretraining = Setting("pretraining", "auroc")
    moved = replace(study, outcomes={pretraining: study.outcomes[ARCHITECTURE]})
    np.testing.assert_array_equal(Evidence(moved, pretraining).identical_sources(), np.eye(14))


def test_equal_values_at_too_few_targets_or_at_the_ceiling_prove_nothing():
    study = make_study(8, n_seeds=1, setting=ARCHITECTURE)
    values = np.full_like(study.outcomes[ARCHITECTURE].values, np.nan)
    values[:, 1:3, 4:6] = 0.75
    values[:, 0, 4:6] = 0.9
    few = Evidence(with_values(study, values), ARCHITECTURE)
    np.testing.assert_array_equal(few.identical_sources(), np.eye(8))
    values[:, :3, 4:] = 1.0
    ceiling = Evidence(with_values(study, values), ARCHITECTURE)
    np.testing.assert_array_equal(ceiling.identical_sources(), np.eye(8))


def test_where_excluding_a_target_changes_who_is_identical_the_model_is_fitted_anew():
    study = twins()
    values = study.outcomes[ARCHITECTURE].values.copy()
    values[:, 8, 4:] = np.nan  # equal at the targets 0, 1 and 2 only: one fewer proves nothing
    recommender = LearnedRecommender.fit(with_values(study, values), ARCHITECTURE)
    assert recommender.evidence.identical_sources()[3, 8] == 1
    unseen = recommender.unseen(1)
    assert unseen.terms.identical[3, 8] == 0
    sources = np.setdiff1d(np.arange(14), [1])
    np.testing.assert_allclose(recommender.standings[sources, 1], unseen.predict(sources, 1)[0], atol=1e-9)


def test_the_modality_of_tasks_counts():
    study = make_study(16, source_effect=0.0, noise=0.2)
    facts = {t: replace(f, domain=("CT", "MR")[i % 2]) for i, (t, f) in enumerate(study.facts.items())}
    same = np.equal.outer(np.arange(16) % 2, np.arange(16) % 2)
    outcomes = study.outcomes[SETTING]
    helped = replace(outcomes, values=outcomes.values + 0.05 * same)
    blind = replace(study, outcomes={SETTING: helped}, distances={})
    seeing = replace(blind, facts=facts)
    assert mean_tau(LearnedRecommender.fit(seeing, SETTING), seeing) > 0.4
    assert abs(mean_tau(LearnedRecommender.fit(blind, SETTING), blind)) < 0.3
