"""The hypotheses on consortia in which they are known to hold, or not to."""

import numpy as np
import pytest
from transfer_findings import MODALITIES, consortium, findings

from aggregator.transfer.report import statistics
from aggregator.transfer.report.hypotheses import (
    AGREEMENT,
    GAIN,
    NEARNESS,
    POOLED,
    WITHIN,
    Test,
    hypothesis_tests,
)
from aggregator.transfer.report.measured import with_outcomes
from aggregator.transfer.report.verdict import conclusion, verdict

N = 12


def random_gains(seed, n_tasks=N):
    """Effects of sources and of targets, and noise; nothing else."""
    random = np.random.default_rng(seed)
    effects = random.normal(size=(n_tasks, 1)) + random.normal(size=(1, n_tasks))
    return 0.02 * effects + 0.01 * random.normal(size=(2, n_tasks, n_tasks))


def judge(gain, *, n_tasks=N, rankings=None, scenario="pretraining"):
    found = consortium(n_tasks, rankings=rankings)
    study, _ = with_outcomes(found.study, findings(gain, found.study.tasks, scenario=scenario))
    return {(t.statistic, t.about): t for t in hypothesis_tests(study, found.cards, found.rankings)}


def same_modality(n_tasks=N):
    kind = np.arange(n_tasks) % len(MODALITIES)
    return kind[:, None] == kind[None, :]


def test_a_planted_effect_of_modalities_is_found_and_has_its_size():
    test = judge(random_gains(1) + 0.05 * same_modality())[GAIN, "modality, pretraining, AUROC"]
    assert test.value == pytest.approx(0.05, abs=0.02)
    assert test.interval[0] > 0
    assert test.p_adjusted < 0.01
    assert test.n_targets == N
    assert verdict(test).startswith("The data show it")


def test_where_modalities_do_nothing_they_are_seldom_found():
    p_values = [judge(random_gains(seed))[GAIN, "modality, pretraining, AUROC"].p for seed in range(2, 14)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.17
    assert 0.3 < np.mean(p_values) < 0.7


def test_sources_of_a_modality_are_nearer_by_the_distance_that_knows_modalities():
    found = judge(random_gains(3))
    near, chance = (found[NEARNESS, f"modality, {name}"] for name in ("near", "chance"))
    assert near.p_adjusted < 0.05
    assert near.value > 0.5
    assert chance.p_adjusted > 0.05


def test_a_distance_that_foretells_gains_is_told_from_one_that_does_not():
    near = consortium(N).study.distances["near"]
    found = judge(random_gains(4) - 0.05 * np.nan_to_num(near))
    assert found[WITHIN, "near"].p_adjusted < 0.01
    assert found[WITHIN, "near"].value > 0.5
    assert found[WITHIN, "chance"].p_adjusted > 0.05
    assert found[POOLED, "near"].interval[0] > 0


def test_a_distance_that_foretells_the_reverse_is_said_to():
    near = consortium(N).study.distances["near"]
    test = judge(random_gains(5) + 0.05 * np.nan_to_num(near))[WITHIN, "near"]
    assert verdict(test).startswith("The data show the opposite")
    assert "the opposite by 1" in conclusion([test], "H2")


def test_pretraining_is_not_tested_on_another_scenario():
    assert not [key for key in judge(random_gains(6), scenario="augmentation") if key[0] == WITHIN]


def rankings(agree, seed=0):
    """Six architectures; tasks of one modality like the same ones if they ``agree``."""
    random = np.random.default_rng(seed)
    liked = random.random((len(MODALITIES), 6))
    tasks = consortium(N).study.tasks
    return {
        task: {
            f"net{k}": float(agree * liked[i % len(MODALITIES), k] + 0.2 * random.random()) for k in range(6)
        }
        for i, task in enumerate(tasks)
    }


def test_agreement_on_architectures_inside_modalities_is_found():
    test = judge(random_gains(7), rankings=rankings(1.0))[AGREEMENT, "near"]
    assert test.p_adjusted < 0.01
    assert test.value > 0.3
    assert test.n_pairs == N * (N - 1) // 2


def test_random_rankings_of_architectures_agree_with_no_distance():
    found = [judge(random_gains(8), rankings=rankings(0.0, seed))[AGREEMENT, "near"].p for seed in range(6)]
    assert np.mean(np.array(found) < 0.05) <= 0.2


def test_with_few_targets_no_test_claims_anything():
    found = judge(random_gains(9, 6) + 0.2 * same_modality(6), n_tasks=6)
    test = found[GAIN, "modality, pretraining, AUROC"]
    assert "no power" in verdict(test)
    assert "not really tested" in conclusion(list(found.values()), "H1")


def test_what_was_not_measured_is_not_tested():
    assert "could not be tested" in conclusion([], "H3")


def test_holm_multiplies_the_smallest_by_the_number_of_tests_and_never_falls():
    assert statistics.holm([0.01, 0.04, float("nan"), 0.03]) == pytest.approx(
        [0.03, 0.06, float("nan"), 0.06], nan_ok=True
    )


def test_body_parts_are_tested_beside_modalities():
    about = {about for _, about in judge(random_gains(10))}
    assert "body part, near" in about


def test_a_small_p_value_with_zero_inside_the_interval_decides_nothing():
    test = Test("H3", "js", AGREEMENT, 0.3, (-0.1, 0.6), 0.01, 0.02, 12, 66)
    assert verdict(test).startswith("Undecided")
    assert "none of 1 tests" in conclusion([test], "H3")
