"""What a sum costs to which several sites add a share of noise each."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import BudgetError
from federation.privacy.accounting import rho_of, variance_for
from federation.privacy.distributed import SMALLEST_SHARE, rho_of_sum, share_for

sensitivities = st.integers(1, 10**12)
budgets = st.fractions(min_value=Fraction(1, 10**9), max_value=Fraction(100), max_denominator=10**9)
cohorts = st.integers(2, 1000)
lengths = st.integers(1, 2**27)


def shares_summed(variance, honest):
    """Probabilities of the sum of so many discrete Gaussians, by convolution; zero in the middle."""
    reach = int(12 * math.sqrt(variance)) + 1
    one = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * variance))
    total = np.ones(1)
    for _ in range(honest):
        total = np.convolve(total, one / one.sum())
    return total


@pytest.mark.parametrize("honest", [1, 2, 3, 5])
@pytest.mark.parametrize("variance", [16, 23])
@pytest.mark.parametrize("distance", [1, 2, 5])
def test_a_sum_of_shares_diverges_by_at_most_a_rho(honest, variance, distance):
    p = shares_summed(variance, honest)
    here, there = np.log(p[distance:]), np.log(p[:-distance])
    rho = float(rho_of_sum(distance**2, variance, honest, 1))
    for a in (1.01, 1.5, 2, 4):
        divergence = math.log(np.exp(a * here + (1 - a) * there).sum()) / (a - 1)
        assert divergence <= a * rho * (1 + 1e-9) + 1e-12
        assert divergence == pytest.approx(a * rho, rel=1e-6)  # and it is no lavish bound


@given(sensitivities, st.integers(SMALLEST_SHARE, 2**40), lengths)
def test_one_share_costs_what_a_release_of_its_own_does(l2_squared, variance, n):
    assert rho_of_sum(l2_squared, variance, 1, n) == rho_of(l2_squared, variance)


@given(st.integers(SMALLEST_SHARE, 40), st.integers(2, 100), lengths)
def test_the_excess_covers_the_published_tau(variance, honest, n):
    tau = 10 * sum(math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, honest))
    excess = rho_of_sum(0, variance, honest, n)
    assert float(excess) >= n * tau
    assert excess == Fraction(1, 2**64)


def test_an_excess_beyond_the_least_one_is_paid_in_full():
    assert rho_of_sum(0, 16, 2**100 + 1, 2**100) == Fraction(10, 2**24)


@given(sensitivities, budgets, cohorts, lengths)
def test_the_share_is_enough_and_one_less_is_not(l2_squared, rho, honest, n):
    share = share_for(l2_squared, rho, honest, n)
    assert rho_of_sum(l2_squared, share, honest, n) <= rho
    assert share == SMALLEST_SHARE or rho_of_sum(l2_squared, share - 1, honest, n) > rho


def test_shares_add_up_to_the_noise_of_one_release():
    rho, sensitivity = Fraction(1, 50), 512 * 12**2
    for honest in (2, 7, 66):
        total = honest * share_for(sensitivity, rho, honest, 51_200)
        assert 0 <= total - variance_for(sensitivity, rho) <= honest


@given(sensitivities, st.integers(SMALLEST_SHARE, 10**9), cohorts, lengths)
def test_less_noise_fewer_sites_and_more_movement_cost_more(l2_squared, share, honest, n):
    rho = rho_of_sum(l2_squared, share, honest, n)
    assert rho_of_sum(l2_squared, share + 1, honest, n) < rho
    assert rho_of_sum(l2_squared, share, honest + 1, n) < rho
    assert rho_of_sum(l2_squared + 1, share, honest, n) > rho
    assert rho_of_sum(l2_squared, share, honest, n + 1) >= rho


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((-1, 16, 2, 1), "squared sensitivity of -1"),
        ((1, 15, 2, 1), "noise share's variance of 15 is no integer from 16"),
        ((1, 16.0, 2, 1), "variance of 16.0"),
        ((1, True, 2, 1), "variance of True"),
        ((1, 16, 0, 1), "number of honest sites of 0"),
        ((1, 16, 2, 0), "number of integers of 0"),
    ],
)
def test_a_cost_of_impossible_shares_is_refused(arguments, match):
    with pytest.raises(BudgetError, match=match):
        rho_of_sum(*arguments)


@pytest.mark.parametrize(
    ("rho", "match"),
    [
        (Fraction(0), "no shares of noise are enough"),
        (Fraction(1, 2**64), "no shares of noise are enough"),
        (Fraction(-1), "ρ = -1 is no number"),
    ],
)
def test_no_share_is_enough_without_a_budget(rho, match):
    with pytest.raises(BudgetError, match=match):
        share_for(1, rho, 2, 1)


@pytest.mark.parametrize(("sensitivity", "honest", "n"), [(-1, 2, 1), (1, 0, 1), (1, 2, 0), (1.5, 2, 1)])
def test_a_share_of_impossible_sums_is_refused(sensitivity, honest, n):
    with pytest.raises(BudgetError):
        share_for(sensitivity, Fraction(1, 10), honest, n)
