"""Every kind of sketch by name, and how the sketches of one task are stored together."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from federation.errors import FingerprintError, SpaceError
from federation.sketches.base import Sketch
from federation.sketches.fisher import FisherSketch
from federation.sketches.histogram import HistogramSketch
from federation.sketches.mean_embedding import MeanEmbeddingSketch
from federation.sketches.moments import MomentSketch
from federation.space import Space

KINDS: dict[str, type[Sketch]] = {
    sketch.kind: sketch for sketch in (FisherSketch, HistogramSketch, MeanEmbeddingSketch, MomentSketch)
}


def kind(name: str) -> type[Sketch]:
    """Return the class of a kind of sketch.

    Raises:
        SpaceError: If this version knows no such kind.
    """
    if name not in KINDS:
        raise SpaceError(f"unknown kind of sketch {name!r}", remedy=f"use some of: {', '.join(KINDS)}")
    return KINDS[name]


def zeros(space: Space) -> dict[str, Sketch]:
    """Return the sketch of no images of every kind that a space names."""
    return {name: kind(name).for_space(space) for name in sorted(space.sketches)}


def encode_arrays(sketches: Mapping[str, Sketch]) -> dict[str, npt.NDArray[Any]]:
    """Return the integer arrays of several sketches, named ``kind.array``."""
    return {
        f"{name}.{array_name}": array
        for name, sketch in sorted(sketches.items())
        for array_name, array in sketch.arrays().items()
    }


def decode_sketch(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Sketch:
    """Return the sketch of one kind from what ``encode_arrays`` returned.

    Raises:
        FingerprintError: If the kind is unknown or its arrays are impossible.
    """
    if name not in KINDS:
        raise FingerprintError(f"unknown kind of sketch {name!r}", remedy="update fedprint")
    prefix = f"{name}."
    own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
    return KINDS[name].from_arrays(own)
