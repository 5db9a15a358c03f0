"""What a single site's update would look like in a message, if it were there."""

import numpy as np


def forms_of(vector, weights, pieces=50):
    """Return pieces of an update as they would look in a message, from everywhere in it.

    Args:
        vector: int64 [length], the update as integers.
        weights: Name → array, the backbone after the round.
        pieces: About how many of each form.
    """
    largest = max(weights.values(), key=lambda array: array.size).ravel()
    moved = np.flatnonzero(vector)
    for at in moved[:: max(1, len(moved) // pieces)]:
        piece = vector[at : at + 4]
        yield from (piece.astype(kind).tobytes() for kind in ("<i8", "<i4", "<u4", ">i8", ">i4"))
    for at in range(0, largest.size - 8, max(1, largest.size // pieces)):
        yield largest[at : at + 8].tobytes()
