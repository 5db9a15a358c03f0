"""All sketches of a task in a space as one vector of integers, which sites can add up."""

import math
from collections.abc import Mapping

import numpy as np

from federation.errors import PolicyError, VectorError
from federation.sketches import HistogramSketch, Sketch, decode_sketch, encode_arrays, zeros
from federation.sketches.base import EXACT, IntVector, Noise
from federation.sketches.fisher import FisherSketch
from federation.space import Space


def layout(space: Space) -> dict[str, tuple[int, ...]]:
    """Return ``kind.array`` → shape, in the order of the vector, which is that of the names."""
    arrays = encode_arrays(zeros(space))
    return {name: arrays[name].shape for name in sorted(arrays)}


def to_vector(sketches: Mapping[str, Sketch]) -> IntVector:
    """Return int64 [length], all arrays of these sketches in the order of their names."""
    arrays = encode_arrays(sketches)
    return np.concatenate([np.asarray(arrays[name], np.int64).ravel() for name in sorted(arrays)])


def from_vector(vector: IntVector, space: Space, noise: Noise = EXACT) -> dict[str, Sketch]:
    """Return the sketches, bound to their space, of which ``to_vector`` gave this or these are the sum.

    Args:
        vector: int64 [length].
        space: The space.
        noise: ``kind.array`` → variance of the noise in it.

    Raises:
        FingerprintError: If no images can have these sketches.
        VectorError: If the vector has another length or type.
    """
    shapes = layout(space)
    sizes = [math.prod(shape) for shape in shapes.values()]
    if vector.dtype != np.int64 or vector.shape != (sum(sizes),):
        raise VectorError(
            f"a vector of sketches is {vector.dtype} of shape {list(vector.shape)}, expected int64 "
            f"[{sum(sizes)}]"
        )
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    arrays = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    return {kind: decode_sketch(kind, arrays, noise).bind(space) for kind in sorted(space.sketches)}


def require_poolable(space: Space) -> None:
    """Raise unless the sketches of several sites in a space can be added up.

    Raises:
        PolicyError: If every site would compute Fisher information with a head of its own.
    """
    fisher = zeros(space).get(FisherSketch.kind)
    if isinstance(fisher, FisherSketch) and fisher.known.head != "public":
        raise PolicyError(
            f"Fisher sketches of space {space.space_id[:12]} have a head of each site's own "
            f"({fisher.known.head!r}), so that their sum means nothing",
            remedy="pool in a space whose Fisher head is 'public', or that has no Fisher sketch",
        )


def largest_moves(sketches: Mapping[str, Sketch], weight: int) -> dict[str, int]:
    """Return ``kind.array`` → how far one patient moves a number of it at most.

    No number moves farther than the L2 norm of all. A histogram's moves by the patient's weight at most,
    where that norm is of one number for each feature.

    Args:
        sketches: Kind → sketch bound to its space.
        weight: How often the images of one patient are counted together at most.

    Raises:
        PolicyError: If nothing bounds what one image adds to a sketch.
    """
    return {
        f"{kind}.{array}": weight if isinstance(sketch, HistogramSketch) else root(bound.l2_squared)
        for kind, sketch in sketches.items()
        for array, bound in sketch.sensitivity(weight).items()
    }


def root(square: int) -> int:
    """Return the square root of an integer that is not negative, rounded up."""
    return math.isqrt(square - 1) + 1 if square else 0
