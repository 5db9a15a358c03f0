"""The meta-metrics: closed forms, agreement with SciPy, and what chance gives."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr, weightedtau

from aggregator.validation.chance import (
    expect_best,
    expect_random,
    null_interval,
    null_variance,
    score_no_transfer,
)
from aggregator.validation.metrics import METRICS, percentiles, regrets, score_target, spearman, weighted_tau

PERFORMANCE = np.array([0.5, 0.9, 0.7, 0.6, 0.8])


def scores_of(affinity, performance=PERFORMANCE, baseline=0.65):
    found = score_target(
        np.asarray(affinity, dtype=float)[None], np.asarray(performance, dtype=float), baseline
    )
    return dict(zip(METRICS, found[0], strict=True))


def test_an_oracle_has_tau_one_and_no_regret_at_its_first_choice():
    scores = scores_of(PERFORMANCE)
    assert (scores["weighted_tau"], scores["spearman"]) == pytest.approx((1, 1))
    assert scores["best_of_3_percentile"] == 1
    assert scores_of(PERFORMANCE, PERFORMANCE[:1].repeat(5))["regret_at_3"] == 0
    assert regrets(PERFORMANCE)[PERFORMANCE.argmax()] == 0


def test_the_reverse_of_an_oracle_has_tau_minus_one():
    scores = scores_of(-PERFORMANCE)
    assert (scores["weighted_tau"], scores["spearman"]) == pytest.approx((-1, -1))


def test_scores_of_the_first_three_choices_by_hand():
    scores = scores_of([5, 4, 3, 2, 1])  # chooses .5, .9, .7; percentiles .2, 1, .6; regrets .8, 0, 2/3
    assert scores["percentile_at_3"] == pytest.approx(1.8 / 3)
    assert scores["best_of_3_percentile"] == 1
    assert scores["regret_at_3"] == pytest.approx((0.8 + 0 + 2 / 3) / 3)
    assert scores["delta_at_1"] == pytest.approx(-0.15)
    assert scores["delta_at_3"] == pytest.approx(0.05)
    assert scores["improvement_rate_at_3"] == pytest.approx(2 / 3)
    assert scores["negative_transfer_rate"] == 1
    assert [scores[f"best_of_{k}_improvement_rate"] for k in range(1, 6)] == [0, 1, 1, 1, 1]


def test_performance_equal_to_the_baseline_is_neither_improvement_nor_harm():
    scores = scores_of([1, 0], [0.5, 0.4], baseline=0.5)
    assert scores["negative_transfer_rate"] == 0
    assert scores["best_of_1_improvement_rate"] == 0


def test_ties_in_affinity_are_chosen_in_the_order_of_tasks():
    scores = scores_of([1, 1, 1, 1, 1])
    assert scores["delta_at_1"] == pytest.approx(PERFORMANCE[0] - 0.65)
    assert np.isnan(scores["weighted_tau"])
    assert np.isnan(scores["spearman"])


def test_an_unknown_affinity_stands_behind_all_known_ones():
    known = scores_of([3, 2, -7, 1, 0])
    assert scores_of([3, 2, np.nan, 1, 0]) == known
    assert scores_of([3, 2, -np.inf, 1, 0]) == known


def test_a_selector_that_knows_no_source_has_no_scores():
    assert np.isnan(list(scores_of([np.nan] * 5).values())).all()


def test_without_a_baseline_only_gains_are_unknown():
    scores = scores_of(PERFORMANCE, baseline=np.nan)
    unknown = {name for name, value in scores.items() if np.isnan(value)}
    assert unknown == {
        "improvement_rate_at_3",
        "delta_at_1",
        "delta_at_3",
        "negative_transfer_rate",
        *(f"best_of_{k}_improvement_rate" for k in range(1, 6)),
    }


def test_regret_is_zero_at_a_perfect_oracle_and_undefined_beyond_one():
    assert regrets(np.array([1.0, 0.5])).tolist() == [0, 1]
    assert np.isnan(regrets(np.array([3.0, 0.5]))).all()


def test_tied_sources_share_their_percentile():
    assert percentiles(np.array([1.0, 2, 2, 3])).tolist() == [0.25, 0.625, 0.625, 1]


values = st.lists(st.integers(0, 6), min_size=2, max_size=12)


@given(st.data())
def test_correlations_equal_those_of_scipy_with_and_without_ties(data):
    x = np.array(data.draw(values), dtype=float)
    y = np.array(data.draw(st.lists(st.integers(0, 6), min_size=len(x), max_size=len(x))), dtype=float)
    if np.ptp(x) and np.ptp(y):
        assert weighted_tau(x[None], y)[0] == pytest.approx(weightedtau(x, y).statistic, abs=1e-12)
        assert spearman(x[None], y)[0] == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    else:
        assert np.isnan(weighted_tau(x[None], y)[0])
        assert np.isnan(spearman(x[None], y)[0])


@pytest.mark.parametrize("performance", [PERFORMANCE, np.array([0.5, 0.9, 0.7, 0.7, 0.6])], ids=["", "ties"])
def test_chance_equals_the_mean_over_all_orders(performance):
    orders = np.array(list(itertools.permutations(range(5))), dtype=float)
    exact = score_target(orders, performance, 0.65).mean(axis=0)
    expected = expect_random(performance, 0.65)
    np.testing.assert_allclose(expected[1:], exact[1:], atol=1e-12)
    # SciPy orders tied performances by affinity, which lifts the mean tau a little above zero.
    assert exact[METRICS.index("weighted_tau")] == pytest.approx(
        0, abs=1e-12 if len(set(performance)) == 5 else 0.005
    )


def test_chance_has_the_known_percentiles():
    performance = np.arange(66.0) / 66
    expected = dict(zip(METRICS, expect_random(performance, np.nan), strict=True))
    assert expected["percentile_at_3"] == pytest.approx(67 / 132)  # (N + 1) / 2N
    assert expected["best_of_3_percentile"] == pytest.approx(0.75 * 67 / 66)
    assert expected["weighted_tau"] == 0


def test_the_best_of_more_than_there_are_is_the_best():
    assert expect_best(np.array([0.2, 0.7]), 5) == 0.7


def test_no_transfer_gains_and_harms_nothing():
    scores = dict(zip(METRICS, score_no_transfer(np.array([0.6, 0.8]), 0.5), strict=True))
    assert (scores["delta_at_3"], scores["negative_transfer_rate"]) == (0, 0)
    assert scores["regret_at_3"] == pytest.approx(0.3 / 0.5)
    assert np.isnan(scores["weighted_tau"])
    assert dict(zip(METRICS, score_no_transfer(np.array([0.6, 0.8]), 0.9), strict=True))["regret_at_3"] == 0


def test_the_null_spread_of_two_and_three_sources_is_that_of_all_orders():
    order = np.arange(3.0)
    taus = weighted_tau(np.array(list(itertools.permutations(order))), order)
    assert null_variance(2) == pytest.approx(1)
    assert null_variance(3) == pytest.approx((taus**2).mean(), rel=0.1)


def test_more_targets_narrow_the_null_interval_as_the_root_of_their_number():
    low, high = null_interval([20])
    assert low == -high
    assert null_interval([20] * 4)[1] == pytest.approx(high / 2)
