"""Real numbers as integers, so that vectors of them can be summed in a round."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federation.errors import TermsError, VectorError

_EXACT_BITS = 53
"""Float64 holds every integer up to 2^53."""


@dataclass(frozen=True)
class FixedPoint:
    """Multiples of 2^−scale_bits between −clip and +clip.

    Rounding is to the nearest multiple, ties to the even one: it errs by half a step at most, and a step of a
    round that is taken again gives the same vector, which random rounding would not. A sum of n vectors errs
    by n/2 steps at most, besides what was clipped.

    Args:
        scale_bits: Binary digits after the point.
        clip: Largest magnitude; numbers beyond are moved to it.
    """

    scale_bits: int
    clip: float

    def __post_init__(self) -> None:
        if not 0 <= self.scale_bits <= _EXACT_BITS or not 0 < self.clip < math.inf:
            raise TermsError(
                f"fixed-point numbers have {self.scale_bits} bits after the point and reach {self.clip}, "
                f"expected 0 to {_EXACT_BITS} bits and a positive limit"
            )
        if not 1 <= self.bound <= 2**_EXACT_BITS:
            raise TermsError(
                f"fixed-point numbers up to {self.clip} with {self.scale_bits} bits after the point reach "
                f"{self.bound:,} steps, expected 1 to 2^{_EXACT_BITS}",
                remedy="take fewer bits for larger numbers, more for smaller ones",
            )

    @property
    def bound(self) -> int:
        """Largest magnitude of an encoded number, as the terms of a round state it."""
        return round(math.ldexp(self.clip, self.scale_bits))

    def encode(self, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return numbers as integers: nearest multiples of 2^−scale_bits, clipped.

        Args:
            values: float, any shape.

        Returns:
            int64, the same shape.

        Raises:
            VectorError: If a number is not finite.
        """
        numbers = np.asarray(values, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise VectorError(
                "a number to be summed is not finite", remedy="nothing was sent; look at its source"
            )
        clipped = np.clip(numbers, -self.clip, self.clip)
        return np.rint(np.ldexp(clipped, self.scale_bits)).astype(np.int64)

    def decode(self, total: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the numbers that encoded ones, or a sum of them, stand for, float64 of the same shape.

        Raises:
            VectorError: If the sum is not of integers.
        """
        if total.dtype != np.int64:
            raise VectorError(f"a sum of fixed-point numbers is {total.dtype}, expected int64")
        return np.ldexp(total.astype(np.float64), -self.scale_bits)
