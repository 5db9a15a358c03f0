"""Randomness for tests: streams that repeat, and scripts of chosen words."""

from collections.abc import Callable

import numpy as np


def stream(seed: int) -> Callable[[int], bytes]:
    """Return bytes of a counter-based generator: the same for the same seed, on every machine."""
    return np.random.Generator(np.random.Philox(seed)).bytes


def script(*blocks: bytes) -> Callable[[int], bytes]:
    """Return these blocks one after the other, each of which must be asked for with its own length."""
    left = list(blocks)

    def draw(n: int) -> bytes:
        block = left.pop(0)
        assert len(block) == n, f"asked for {n} bytes where the script has {len(block)}"
        return block

    draw.left = left  # type: ignore[attr-defined]
    return draw
