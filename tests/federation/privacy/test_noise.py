"""The noise has the distribution it states, down to the last bit."""

import math
import random
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from randomness import script, stream
from scipy.stats import chi2, chi2_contingency

from federation.errors import BudgetError, PolicyError
from federation.privacy import inversion, noise
from federation.privacy.gaussian_distribution import magnitude_distribution
from federation.privacy.noise import LARGEST_IN_A_TABLE, LARGEST_VARIANCE, discrete_gaussian

N = 200_000
VARIANCES = [1, 2, 5, 30, 1000, 10_000]
_ALMOST_NEVER = 1e-6  # of a true distribution to fail; the randomness is fixed, so it either does or not


def probabilities(variance):
    """P(X = k) for k from −reach to reach; what lies beyond is below 1e-22."""
    reach = 10 * math.isqrt(variance) + 10
    k = np.arange(-reach, reach + 1)
    weights = np.exp(-(k.astype(np.float64) ** 2) / (2 * variance))
    return k, weights / weights.sum()


def grouped(k, expected, observed, least=20.0):
    """Join neighbouring integers until each group expects enough draws."""
    edges, total = [], 0.0
    for i, value in enumerate(expected):
        total += value
        if total >= least:
            edges.append(i + 1)
            total = 0.0
    edges[-1] = len(k)
    starts = [0, *edges[:-1]]
    return np.add.reduceat(expected, starts), np.add.reduceat(observed, starts)


@pytest.mark.parametrize("variance", VARIANCES)
def test_frequencies_fit_the_distribution_over_the_whole_support(variance):
    draws = discrete_gaussian(N, variance, stream(variance))
    k, p = probabilities(variance)
    assert abs(draws).max() <= k[-1]
    expected, observed = grouped(k, N * p, np.bincount(draws - k[0], minlength=len(k)))
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, len(expected) - 1) > _ALMOST_NEVER


@pytest.mark.parametrize("block_bits", [1, 3, 5])
def test_frequencies_from_blocks_fit_the_distribution_even_where_most_proposals_are_refused(
    block_bits, monkeypatch
):
    variance = 100
    monkeypatch.setattr(noise, "LARGEST_IN_A_TABLE", 1)
    monkeypatch.setattr(noise, "_COARSE_BITS", 4)
    monkeypatch.setattr(noise, "_block_bits", lambda _: block_bits)
    draws = discrete_gaussian(50_000, variance, stream(block_bits))
    k, p = probabilities(variance)
    expected, observed = grouped(k, len(draws) * p, np.bincount(draws - k[0], minlength=len(k)))
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, len(expected) - 1) > _ALMOST_NEVER


@pytest.mark.parametrize("variance", [LARGEST_IN_A_TABLE + 1, 2**27 + 11])
def test_frequencies_beyond_the_table_fit_the_distribution(variance):
    draws = discrete_gaussian(N, variance, stream(variance))
    k, p = probabilities(variance)
    expected, observed = grouped(k, N * p, np.bincount(draws - k[0], minlength=len(k)))
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, len(expected) - 1) > _ALMOST_NEVER


@pytest.mark.parametrize("start", [0, 2**20, 2**33])
@pytest.mark.parametrize("variance", [2**45 + 1, LARGEST_VARIANCE])
def test_a_place_in_a_block_is_kept_with_exactly_the_probability_that_is_missing(variance, start):
    offset = 2 ** noise._block_bits(variance) - 1
    with mpmath.workprec(400):
        x = mpmath.mpf((start + offset) ** 2 - start**2) / (2 * variance)
        digits = int(mpmath.floor((1 - mpmath.exp(-x)) * mpmath.mpf(2) ** 128))
    word, more = digits >> 64, digits % 2**64
    for value, further, expected in [
        (word - 4, [], False),
        (word + 4, [], True),
        (word, [more - 9], False),
        (word, [more + 9], True),
    ]:
        randomness = script(words(value), *(later.to_bytes(8, "big") for later in further))
        kept = noise._kept(np.array([start]), np.array([offset]), variance, randomness)
        assert kept.tolist() == [expected]
        assert not randomness.left


def test_the_first_place_of_a_block_is_always_kept_and_minus_zero_never():
    nothing, plus, minus = words(0), b"\0", b"\x80"
    randomness = script(nothing, nothing, minus, nothing, nothing, nothing, plus, nothing)
    assert discrete_gaussian(1, LARGEST_IN_A_TABLE * 4, randomness).tolist() == [0]
    assert not randomness.left


def test_frequencies_of_a_slightly_wrong_variance_are_told_apart():
    draws = discrete_gaussian(N, 1000, stream(0))
    k, p = probabilities(1060)
    expected, observed = grouped(k, N * p, np.bincount(draws - k[0], minlength=len(k)))
    assert chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1) < _ALMOST_NEVER


@pytest.mark.parametrize("variance", [*VARIANCES, 4096**2, 2**32 - 5, LARGEST_VARIANCE])
def test_moments_are_those_of_the_distribution(variance):
    draws = discrete_gaussian(N, variance, stream(variance + 1)).astype(np.float64)
    sigma = math.sqrt(variance)
    assert abs(draws.mean()) < 5 * sigma / math.sqrt(N)
    assert abs((draws**2).mean() / variance - 1) < 5 * math.sqrt(2 / N)
    assert abs((draws**3).mean()) < 5 * sigma**3 * math.sqrt(15 / N)
    assert abs((draws**4).mean() / variance**2 - 3) < 5 * math.sqrt(96 / N)


def test_the_variance_parameter_is_the_variance_up_to_one_millionth():
    k, p = probabilities(1)
    assert 1 - 1e-6 < (p * k * k).sum() < 1


@pytest.mark.parametrize("variance", [1, 16, 900])
@pytest.mark.parametrize("sigmas", [3, 4])
def test_tails_are_as_heavy_as_they_should_be(variance, sigmas):
    n = 1_000_000
    draws = discrete_gaussian(n, variance, stream(10 * variance + sigmas))
    beyond = sigmas * math.isqrt(variance)
    k, p = probabilities(variance)
    expected = n * p[abs(k) > beyond].sum()
    assert abs((abs(draws) > beyond).sum() - expected) < 5 * math.sqrt(expected) + 1


@pytest.mark.parametrize("variance", [1, 30])
def test_positive_and_negative_are_equally_frequent(variance):
    draws = discrete_gaussian(N, variance, stream(variance + 2))
    for k in range(1, 3 * math.isqrt(variance)):
        both = (draws == k).sum() + (draws == -k).sum()
        assert abs((draws == k).sum() - both / 2) < 5 * math.sqrt(both / 4)


def test_neighbouring_draws_do_not_depend_on_each_other():
    draws = discrete_gaussian(N, 100, stream(5)).astype(np.float64)
    for lag in (1, 2, 8, 64):
        assert abs(np.corrcoef(draws[:-lag], draws[lag:])[0, 1]) < 5 / math.sqrt(N)


def test_draws_are_alike_to_an_exact_rejection_sampler():
    variance, n = 6, 4000
    slow = np.array([rejection_sample(variance, random.Random(i)) for i in range(n)])
    fast = discrete_gaussian(n, variance, stream(9))
    table = [[(draws.clip(-6, 6) == k).sum() for k in range(-6, 7)] for draws in (slow, fast)]
    assert chi2_contingency(table).pvalue > 1e-4


def rejection_sample(variance, source):
    """Algorithm 3 of Canonne, Kamath, Steinke 2020, with fractions instead of real numbers."""
    t = math.isqrt(variance) + 1
    while True:
        y = rejection_laplace(t, source)
        if bernoulli_exp(Fraction((abs(y) * t - variance) ** 2, 2 * variance * t * t), source):
            return y


def rejection_laplace(t, source):
    """Algorithm 2: P(y) ∝ exp(−|y|/t)."""
    while True:
        u = source.randrange(t)
        if not bernoulli_exp(Fraction(u, t), source):
            continue
        v = 0
        while bernoulli_exp(Fraction(1), source):
            v += 1
        negative = source.randrange(2)
        if not (negative and u + t * v == 0):
            return -(u + t * v) if negative else u + t * v


def bernoulli_exp(gamma, source):
    """Algorithm 1: true with probability exp(−gamma)."""
    while gamma > 1:
        if not bernoulli_exp(Fraction(1), source):
            return False
        gamma -= 1
    k = 1
    while source.randrange(gamma.denominator * k) < gamma.numerator:
        k += 1
    return k % 2 == 1


@pytest.mark.parametrize("variance", [50, 2**50])
@pytest.mark.parametrize("shape", [0, 1, 9, (), (3,), (2, 3, 5), (0, 4)])
def test_draws_are_signed_integers_of_the_shape_asked_for(shape, variance):
    draws = discrete_gaussian(shape, variance)
    assert draws.dtype == np.int64
    assert draws.shape == ((shape,) if isinstance(shape, int) else shape)


def test_the_operating_system_is_asked_by_default_and_never_twice_the_same():
    assert (discrete_gaussian(50, 10_000) != discrete_gaussian(50, 10_000)).any()


def test_the_same_randomness_gives_the_same_noise_whatever_the_threads():
    inversion._table.cache_clear()
    with ThreadPoolExecutor(8) as threads:
        draws = list(threads.map(lambda _: discrete_gaussian(1000, 12_345, stream(1)), range(16)))
    assert all((draw == draws[0]).all() for draw in draws)


def test_the_kept_table_cannot_be_written_to():
    for array in inversion._table(Fraction(1, 154), 2):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def words(*values):
    return b"".join(value.to_bytes(8, "little") for value in values)


def test_words_between_boundaries_give_the_magnitude_and_one_more_bit_the_sign():
    bounds = magnitude_distribution(Fraction(1, 2 * 9), 64)
    values = [0, bounds.lower[0] - 1, bounds.upper[0], bounds.upper[3], bounds.upper[3]]
    draws = discrete_gaussian(5, 9, script(words(*values), bytes([0b11001000])))
    assert draws.tolist() == [0, 0, 1, 4, -4]


@pytest.mark.parametrize("variance", [1, 9, 10_000])
@pytest.mark.parametrize("magnitude", [0, 1, 4])
def test_a_tie_is_decided_by_further_digits_as_the_true_boundary_says(variance, magnitude):
    with mpmath.workprec(400):
        weights = [mpmath.exp(mpmath.mpf(-k * k) / (2 * variance)) for k in range(2000)]
        head = (weights[0] + 2 * mpmath.fsum(weights[1 : magnitude + 1])) / (2 * mpmath.fsum(weights) - 1)
        digits = int(mpmath.floor(head * mpmath.mpf(2) ** 256))  # cut off, so the boundary is above
    word, more, rest = digits >> 192, (digits >> 128) % 2**64, digits % 2**128
    cases = [(word, [more - 2**20], magnitude), (word, [more + 2**20], magnitude + 1)]
    cases += [(word, [more, rest - 2**80], magnitude), (word, [more, rest + 2**80], magnitude + 1)]
    for first, further, expected in cases:
        blocks = [value.to_bytes(8 * 2**i, "big") for i, value in enumerate(further)]
        randomness = script(words(first), *blocks, b"\0")
        assert discrete_gaussian(1, variance, randomness).tolist() == [expected]
        assert not randomness.left


def test_a_word_beyond_the_table_is_decided_by_further_digits():
    table_ends = len(magnitude_distribution(Fraction(1, 2 * 1), 64).lower)
    beyond = b"\xff" * 8
    near = discrete_gaussian(1, 1, script(beyond, b"\0" * 8, b"\0"))[0]
    far = discrete_gaussian(1, 1, script(beyond, b"\xff" * 7 + b"\0", b"\0"))[0]
    assert near <= table_ends < far
    ever_farther = discrete_gaussian(1, 1, script(beyond, beyond, b"\xff" * 15 + b"\0", b"\0"))[0]
    assert ever_farther > far


def test_a_variance_of_numpy_does_not_wrap():
    drawn = discrete_gaussian(100, np.int32(50_000), stream(3))
    assert (drawn == discrete_gaussian(100, 50_000, stream(3))).all()


@pytest.mark.parametrize("variance", [0, -1, LARGEST_VARIANCE + 1, 2.0, 1.5, math.nan, True, "9", None])
def test_a_variance_that_is_no_integer_in_range_is_refused(variance):
    with pytest.raises(BudgetError, match="variance") as caught:
        discrete_gaussian(3, variance)
    assert caught.value.remedy
    assert isinstance(caught.value, PolicyError)
    assert caught.value.code == "budget"


def test_too_much_noise_is_refused_with_a_way_out():
    with pytest.raises(BudgetError, match="coarser unit"):
        discrete_gaussian(3, 2**70)


@pytest.mark.parametrize("given", [0, 7, 9])
def test_randomness_that_runs_short_never_becomes_noise(given):
    with pytest.raises(BudgetError, match=f"gave {given} of 8 bytes"):
        discrete_gaussian(1, 9, lambda n: bytes(given))


def test_randomness_that_runs_short_in_a_tie_is_refused_too():
    bounds = magnitude_distribution(Fraction(1, 2 * 9), 64)
    blocks = iter([words(bounds.lower[2]), b"1234567"])
    with pytest.raises(BudgetError, match="gave 7 of 8 bytes"):
        discrete_gaussian(1, 9, lambda n: next(blocks))
