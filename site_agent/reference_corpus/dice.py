"""Chance that falls the same way on every machine."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating[Any]]  # always float32; the stubs of NumPy lose track of it
Point = tuple[float, float]
T = TypeVar("T")

_KEY = 0x66656470_72696E74
_SCALARS, _FIELDS = 0, 1
_BLOCK = 512


def as_colour(channels: Sequence[float] | Field) -> Field:
    """Return red, green and blue as float32 [3, 1, 1], which broadcasts over a canvas."""
    return np.asarray(channels, dtype=np.float32).reshape(3, 1, 1)


class Dice:
    """Random numbers of one image, from raw words of the counter-based generator Philox.

    Every image has its own key, so images are independent and each can be drawn alone. Single numbers
    and whole fields come from separate streams.

    Args:
        index: Which image of the corpus.
    """

    def __init__(self, index: int) -> None:
        self._scalars, self._fields = (
            np.random.Philox(key=(_KEY << 64) | (index << 1) | stream) for stream in (_SCALARS, _FIELDS)
        )
        self._ready: list[float] = []

    def unit(self) -> float:
        """Return a number in [0, 1) with 24 random bits."""
        if not self._ready:
            words = self._scalars.random_raw(_BLOCK) >> np.uint64(40)
            self._ready = (words.astype(np.float64) / 2**24).tolist()
        return self._ready.pop()

    def field(self, *shape: int) -> Field:
        """Return numbers in [0, 1) with 24 random bits each, which float32 holds exactly."""
        words = self._fields.random_raw(shape) >> np.uint64(40)
        return words.astype(np.float32) / np.float32(2**24)

    def between(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """Return an integer from ``low`` to ``high``, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.unit() < probability

    def pick(self, *options: T) -> T:
        """Return one of the options."""
        return options[self.integer(0, len(options) - 1)]

    def point(self, low: float = 0.0, high: float = 1.0) -> Point:
        """Return a point of the square [low, high)²."""
        return self.between(low, high), self.between(low, high)

    def direction(self) -> Point:
        """Return a unit vector, from a point of the unit disc (no trigonometry)."""
        while True:
            x, y = self.point(-1, 1)
            length = x * x + y * y
            if 0.01 < length <= 1:
                length = float(np.sqrt(length))
                return x / length, y / length

    def colour(self, low: float = 0.0, high: float = 1.0) -> Field:
        """Return a colour, float32 [3, 1, 1]."""
        return as_colour([self.between(low, high) for _ in range(3)])

    def near(self, colour: Sequence[float] | Field, spread: float = 0.12) -> Field:
        """Return a colour that differs from ``colour`` by at most ``spread`` per channel."""
        return as_colour(colour) + self.colour(-spread, spread)
