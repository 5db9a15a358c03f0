"""The integers really enclose the distribution, as told by arithmetic of sixty to two hundred digits."""

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.privacy.gaussian_distribution import exponential_of_reciprocal, magnitude_distribution

VARIANCES = [1, 2, 3, 7, 100, 10_007, 4096**2]


def true_total(variance):
    """The sum of all weights, by Poisson's summation formula instead of adding them up."""
    dual = mpmath.exp(-2 * mpmath.pi**2 * variance)
    return mpmath.sqrt(2 * mpmath.pi * variance) * mpmath.jtheta(3, 0, dual)


def true_heads(variance, n):
    """P(|X| ≤ m) for m below n, from the definition."""
    total = true_total(variance)
    heads = [1 / total]
    for k in range(1, n):
        heads.append(heads[-1] + 2 * mpmath.exp(mpmath.mpf(-k * k) / (2 * variance)) / total)
    return heads


@given(st.integers(1, 2**33), st.integers(1, 400))
def test_the_exponential_is_enclosed_by_at_most_three_units(n, precision):
    lower, upper = exponential_of_reciprocal(n, precision)
    with mpmath.workprec(precision + 64):
        truth = mpmath.exp(-mpmath.mpf(1) / n) * mpmath.mpf(2) ** precision
        assert lower <= truth <= upper
    assert upper - lower <= 3


@pytest.mark.parametrize("bits", [64, 128, 256])
@pytest.mark.parametrize("variance", VARIANCES[:-1])
def test_every_boundary_lies_between_its_bounds(variance, bits):
    bounds = magnitude_distribution(variance, bits)
    with mpmath.workprec(2 * bits + 64):
        unit = mpmath.mpf(2) ** bits
        truths = true_heads(variance, len(bounds.lower))
        for lower, upper, truth in zip(bounds.lower, bounds.upper, truths, strict=True):
            assert lower <= truth * unit <= upper


def test_boundaries_of_a_large_variance_lie_between_their_bounds():
    variance, bits = VARIANCES[-1], 64
    bounds = magnitude_distribution(variance, bits)
    with mpmath.workprec(200):
        for m, truth in enumerate(true_heads(variance, 2000)):
            assert bounds.lower[m] <= truth * 2**bits <= bounds.upper[m]


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("variance", VARIANCES)
def test_bounds_are_tight_rise_and_reach_one(variance, bits):
    bounds = magnitude_distribution(variance, bits)
    assert bounds.bits == bits
    assert bounds.lower == sorted(bounds.lower)
    assert bounds.upper == sorted(bounds.upper)
    assert max(up - low for low, up in zip(bounds.lower, bounds.upper, strict=True)) <= 4
    assert 2**bits - 4 <= bounds.lower[-1] < bounds.upper[-1] <= 2**bits


@given(st.integers(1, 5000))
def test_finer_bounds_lie_within_coarser_ones(variance):
    coarse, fine = magnitude_distribution(variance, 64), magnitude_distribution(variance, 96)
    for i, (low, up) in enumerate(zip(coarse.lower, coarse.upper, strict=True)):
        assert low << 32 <= fine.lower[i] + 1
        assert fine.upper[i] - 1 <= up << 32
