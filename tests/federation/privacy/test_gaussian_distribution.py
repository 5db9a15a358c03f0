"""The integers really enclose the distribution, as told by arithmetic of sixty to two hundred digits."""

from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.privacy.gaussian_distribution import exponential, magnitude_distribution

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


@given(st.fractions(0, 40) | st.integers(1, 2**70).map(lambda n: Fraction(1, n)), st.integers(1, 400))
def test_the_exponential_is_enclosed_by_at_most_three_units(x, precision):
    lower, upper = exponential(x, precision)
    with mpmath.workprec(precision + 200):
        truth = mpmath.exp(-mpmath.mpf(x.numerator) / x.denominator) * mpmath.mpf(2) ** precision
        assert lower <= truth <= upper
    assert upper - lower <= 3


def test_the_exponential_of_zero_is_one():
    assert exponential(Fraction(0), 50) == (2**50, 2**50)


@pytest.mark.parametrize("rate", [Fraction(1, 2), Fraction(4, 2 * 101), Fraction(4**19, 2**61)])
def test_every_boundary_of_one_side_lies_between_its_bounds(rate):
    bounds = magnitude_distribution(rate, 64, sides=1)
    with mpmath.workprec(200):
        r = mpmath.mpf(rate.numerator) / rate.denominator
        weights = [mpmath.exp(-k * k * r) for k in range(3 * len(bounds.lower))]
        head, total = mpmath.mpf(0), mpmath.fsum(weights)
        for weight, lower, upper in zip(weights, bounds.lower, bounds.upper, strict=False):
            head += weight
            assert lower <= head / total * 2**64 <= upper


@pytest.mark.parametrize("bits", [64, 128, 256])
@pytest.mark.parametrize("variance", VARIANCES[:-1])
def test_every_boundary_lies_between_its_bounds(variance, bits):
    bounds = magnitude_distribution(Fraction(1, 2 * variance), bits)
    with mpmath.workprec(2 * bits + 64):
        unit = mpmath.mpf(2) ** bits
        truths = true_heads(variance, len(bounds.lower))
        for lower, upper, truth in zip(bounds.lower, bounds.upper, truths, strict=True):
            assert lower <= truth * unit <= upper


def test_boundaries_of_a_large_variance_lie_between_their_bounds():
    variance, bits = VARIANCES[-1], 64
    bounds = magnitude_distribution(Fraction(1, 2 * variance), bits)
    with mpmath.workprec(200):
        for m, truth in enumerate(true_heads(variance, 2000)):
            assert bounds.lower[m] <= truth * 2**bits <= bounds.upper[m]


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("variance", VARIANCES)
def test_bounds_are_tight_rise_and_reach_one(variance, bits):
    bounds = magnitude_distribution(Fraction(1, 2 * variance), bits)
    assert bounds.bits == bits
    assert bounds.lower == sorted(bounds.lower)
    assert bounds.upper == sorted(bounds.upper)
    assert max(up - low for low, up in zip(bounds.lower, bounds.upper, strict=True)) <= 4
    assert 2**bits - 4 <= bounds.lower[-1] < bounds.upper[-1] <= 2**bits


@given(st.integers(1, 5000))
def test_finer_bounds_lie_within_coarser_ones(variance):
    coarse, fine = (
        magnitude_distribution(Fraction(1, 2 * variance), 64),
        magnitude_distribution(Fraction(1, 2 * variance), 96),
    )
    for i, (low, up) in enumerate(zip(coarse.lower, coarse.upper, strict=True)):
        assert low << 32 <= fine.lower[i] + 1
        assert fine.upper[i] - 1 <= up << 32
