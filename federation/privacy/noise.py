"""Discrete Gaussian noise, drawn exactly with randomness of the operating system.

Up to σ = 4,096 the magnitude comes from a table (docs/privacy-proofs.md#the-sampler-is-exact). Beyond, a
coarser table gives a block of neighbouring integers, uniform bits a place in it, and a few places are refused
so that the rest has the right distribution (docs/privacy-proofs.md#large-variances). No floating-point number
takes part.
"""

import math
import os
from fractions import Fraction
from numbers import Integral

import numpy as np
import numpy.typing as npt

from federation.errors import BudgetError
from federation.privacy.inversion import (
    WORD_BITS,
    Integers,
    Randomness,
    is_kept,
    random_bytes,
    random_magnitudes,
    random_words,
)

LARGEST_VARIANCE = 2**60
LARGEST_IN_A_TABLE = 2**24
_COARSE_BITS = 20


def discrete_gaussian(
    shape: int | tuple[int, ...], variance: int, randomness: Randomness = os.urandom
) -> Integers:
    """Draw independent integers k with probability proportional to exp(−k²/2σ²), exactly.

    Safe in threads and after a fork: there is no state but a cached table that is never written to.

    Args:
        shape: Of the result.
        variance: σ², an integer from 1 to 2^60; the true variance is smaller by less than one millionth.
        randomness: Returns that many independent uniform bytes; anything but the default is for tests.

    Returns:
        int64 of that shape.

    Raises:
        BudgetError: If the variance is no such integer, or randomness ran short.

    References:
        Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", definition 1.
    """
    variance = checked_variance(variance)
    n = math.prod(shape) if isinstance(shape, tuple) else shape
    draw = _from_table if variance <= LARGEST_IN_A_TABLE else _from_blocks
    return draw(n, variance, randomness).reshape(shape)


def checked_variance(variance: int) -> int:
    """Return a variance that noise can be drawn with.

    Raises:
        BudgetError: If it is no integer from 1 to 2^60.
    """
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


def _from_table(n: int, variance: int, randomness: Randomness) -> Integers:
    magnitudes = random_magnitudes(n, Fraction(1, 2 * variance), 2, randomness)
    np.negative(magnitudes, out=magnitudes, where=_signs(n, randomness))
    return magnitudes


def _signs(n: int, randomness: Randomness) -> npt.NDArray[np.bool_]:
    block = np.frombuffer(random_bytes((n + 7) // 8, randomness), dtype=np.uint8)
    return np.unpackbits(block, count=n).astype(bool)


def _from_blocks(n: int, variance: int, randomness: Randomness) -> Integers:
    """Return n draws, proposing as many as are still missing until none is."""
    draws = np.empty(n, dtype=np.int64)
    filled = 0
    while filled < n:
        found = _kept_proposals(n - filled, variance, randomness)
        draws[filled : filled + len(found)] = found
        filled += len(found)
    return draws


def _kept_proposals(n: int, variance: int, randomness: Randomness) -> Integers:
    """Return at most n draws of B·h + l with either sign; minus zero is refused, so that zero counts once.

    h ≥ 0 has probability ∝ exp(−(B·h)²/2σ²) and l is uniform below B.
    """
    bits = _block_bits(variance)
    starts = random_magnitudes(n, Fraction(4**bits, 2 * variance), 1, randomness) << bits
    offsets = (random_words(n, randomness) >> np.uint64(WORD_BITS - bits)).astype(np.int64)
    draws, negative = starts + offsets, _signs(n, randomness)
    kept = _kept(starts, offsets, variance, randomness) & ((draws > 0) | ~negative)
    np.negative(draws, out=draws, where=negative)
    return draws[kept]


def _block_bits(variance: int) -> int:
    """Return log₂ B of blocks so small that σ/B is about 2^11: few are refused, and the table is short."""
    return (variance.bit_length() - 22) // 2


def _kept(
    starts: Integers, offsets: Integers, variance: int, randomness: Randomness
) -> npt.NDArray[np.bool_]:
    """Keep each place in a block with probability exp(−x), x = ((start + offset)² − start²)/2σ².

    A number is kept if a uniform one is at least 1 − exp(−x). As that is at most x, a bound of x in units of
    2^-20 decides nearly all; the others are decided by exact fractions.
    """
    words = random_words(len(starts), randomness)
    numerators = offsets * (2 * starts + offsets)  # x times 2σ²
    enough = numerators // (2 * variance >> _COARSE_BITS) + 1
    kept = (words >> np.uint64(WORD_BITS - _COARSE_BITS)).astype(np.int64) >= enough
    for index in np.flatnonzero(~kept):
        x = Fraction(int(numerators[index]), 2 * variance)
        kept[index] = is_kept(int(words[index]), x, randomness)
    return kept
