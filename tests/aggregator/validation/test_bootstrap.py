"""Intervals over targets."""

import numpy as np
import pytest

from aggregator.validation.bootstrap import target_intervals


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    scores = np.random.default_rng(0).normal(0.3, 0.2, size=(200, 1))
    low, high = target_intervals(scores)[:, 0]
    assert (low + high) / 2 == pytest.approx(scores.mean(), abs=0.005)
    assert high - low == pytest.approx(2 * 1.96 * scores.std() / np.sqrt(200), rel=0.08)


def test_targets_as_clusters_give_wider_intervals_than_pairs():
    generator = np.random.default_rng(1)
    targets = generator.normal(size=(30, 1)) + 0.1 * generator.normal(size=(30, 20))
    by_target = np.ptp(target_intervals(targets.mean(axis=1, keepdims=True)))
    by_pair = np.ptp(target_intervals(targets.reshape(-1, 1)))
    assert by_target > 3 * by_pair


def test_the_same_targets_give_the_same_interval():
    scores = np.random.default_rng(2).uniform(size=(12, 3))
    np.testing.assert_array_equal(target_intervals(scores), target_intervals(scores))


def test_unknown_scores_are_left_out():
    scores = np.array([[0.2, 1.0, np.nan], [np.nan, np.nan, np.nan], [0.4, np.nan, np.nan]])
    intervals = target_intervals(scores)
    assert intervals[:, 0] == pytest.approx([0.2, 0.4])
    assert np.isnan(intervals[:, 1:]).all()


def test_no_targets_give_no_interval():
    assert np.isnan(target_intervals(np.empty((0, 2)))).all()
