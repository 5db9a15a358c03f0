"""Chance of one's own: every draw comes from a stream named by seed and purpose, none from global generators.

So two runs in threads of one process do not disturb each other, and a run that was interrupted draws what it
would have drawn.
"""

import hashlib

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


def stream_seed(*names: int | str) -> int:
    """Return the seed of a stream, in [0, 2^63), that differs for every sequence of names."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def random_words(n: int, *names: int | str) -> Words:
    """Return the first ``n`` words of a stream; raw words are the same in every version of numpy."""
    return np.random.PCG64(stream_seed(*names)).random_raw(n)
