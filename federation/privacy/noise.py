"""Discrete Gaussian noise, drawn exactly with randomness of the operating system.

A draw inverts the cumulative distribution at a uniform number of which only as many binary digits are drawn
as the answer needs. Sixty-four nearly always decide, by a table of integers; otherwise digits and table are
refined. No floating-point number takes part. Proof: docs/privacy-proofs.md#the-sampler-is-exact.
"""

import math
import os
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from numbers import Integral

import numpy as np
import numpy.typing as npt

from federation.errors import BudgetError
from federation.privacy.gaussian_distribution import MagnitudeDistribution, magnitude_distribution

Randomness = Callable[[int], bytes]  # independent uniform bytes, as many as asked for
Words = npt.NDArray[np.uint64]

LARGEST_VARIANCE = 2**32
_WORD_BITS = 64


def discrete_gaussian(
    shape: int | tuple[int, ...], variance: int, randomness: Randomness = os.urandom
) -> npt.NDArray[np.int64]:
    """Draw independent integers k with probability proportional to exp(−k²/2σ²), exactly.

    Safe in threads and after a fork: there is no state but a cached table that is never written to.

    Args:
        shape: Of the result.
        variance: σ², an integer from 1 to 2^32; the true variance is smaller by less than one millionth.
        randomness: Returns that many independent uniform bytes; anything but the default is for tests.

    Returns:
        int64 of that shape.

    Raises:
        BudgetError: If the variance is no such integer, or randomness ran short.

    References:
        Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", definition 1.
    """
    variance = _checked_variance(variance)
    n = math.prod(shape) if isinstance(shape, tuple) else shape
    words = np.frombuffer(_bytes(8 * n, randomness), dtype="<u8").astype(np.uint64, copy=False)
    magnitudes = _magnitudes(words, variance, randomness)
    signs = np.unpackbits(np.frombuffer(_bytes((n + 7) // 8, randomness), dtype=np.uint8), count=n)
    return np.negative(magnitudes, out=magnitudes, where=signs.astype(bool)).reshape(shape)


def _checked_variance(variance: int) -> int:
    if isinstance(variance, bool) or not isinstance(variance, Integral):
        raise BudgetError(
            f"a noise variance of {variance!r} is no integer",
            remedy="give σ² as a whole number of squared units",
        )
    if not 1 <= variance <= LARGEST_VARIANCE:
        raise BudgetError(
            f"noise of variance {variance} is outside 1 to 2^{LARGEST_VARIANCE.bit_length() - 1}",
            remedy="release in a coarser unit, which shrinks the sensitivity, or spend more on this release"
            if variance > 1
            else "give at least 1; a release without noise is not private",
        )
    return int(variance)  # a NumPy integer would wrap in the table's arithmetic


def _bytes(n: int, randomness: Randomness) -> bytes:
    """Return exactly n random bytes; a source that runs short must never become a noise of zeros."""
    block = randomness(n)
    if len(block) != n:
        raise BudgetError(
            f"the source of randomness gave {len(block)} of {n} bytes",
            remedy="nothing was released; use the operating system's randomness",
        )
    return block


def _magnitudes(words: Words, variance: int, randomness: Randomness) -> npt.NDArray[np.int64]:
    """Return |k| for uniform numbers of which the first 64 binary digits are known.

    A boundary of the distribution whose upper bound a word has reached is certainly not above; if the lower
    bound of the next one is beyond the word, that one certainly is. Where that is not so, more digits decide.
    """
    lower, last = _table(variance)
    magnitudes = np.searchsorted(last, words).astype(np.int64, copy=False)
    for index in np.flatnonzero(lower[magnitudes] <= words):
        magnitudes[index] = _refined(int(words[index]), variance, randomness)
    return magnitudes


@lru_cache(maxsize=8)
def _table(variance: int) -> tuple[Words, Words]:
    """Return the boundaries between magnitudes for words.

    Returns:
        Their lower bounds, closed by a zero so that a word beyond all of them is undecided; and the last
        word that is not certainly beyond each, ascending. 0.1 s and 0.6 MB at σ = 4,096, 10 MB at 65,536.
    """
    bounds = magnitude_distribution(variance, _WORD_BITS)
    lower = np.array([*bounds.lower, 0], dtype=np.uint64)
    last = np.array([bound - 1 for bound in bounds.upper], dtype=np.uint64)
    lower.flags.writeable = last.flags.writeable = False
    return lower, last


def _refined(digits: int, variance: int, randomness: Randomness) -> int:
    """Return |k| of a uniform number from its first 64 digits and as many more as it takes."""
    bits = _WORD_BITS
    magnitude = None
    while magnitude is None:
        digits = digits << bits | int.from_bytes(_bytes(bits // 8, randomness), "big")
        bits *= 2
        magnitude = _decided(digits, magnitude_distribution(variance, bits))
    return magnitude


def _decided(digits: int, bounds: MagnitudeDistribution) -> int | None:
    """Return the magnitude of every number that starts with these digits, None if they do not share one."""
    magnitude = bisect_right(bounds.lower, digits)
    certain = magnitude < len(bounds.lower) and (magnitude == 0 or bounds.upper[magnitude - 1] <= digits)
    return magnitude if certain else None
