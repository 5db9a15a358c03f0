"""Every kind of sketch by name, and how the sketches of one task are stored together."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy.typing as npt

from federation.errors import FingerprintError, SpaceError
from federation.sketches.base import EXACT, Noise, Sketch
from federation.sketches.cdf import CdfSketch
from federation.sketches.fisher import FisherSketch
from federation.sketches.histogram import HistogramSketch
from federation.sketches.mean_embedding import MeanEmbeddingSketch
from federation.sketches.moments import MomentSketch
from federation.space import Space

Value = TypeVar("Value")

KINDS: dict[str, type[Sketch]] = {
    sketch.kind: sketch
    for sketch in (CdfSketch, FisherSketch, HistogramSketch, MeanEmbeddingSketch, MomentSketch)
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


def decode_sketch(name: str, arrays: Mapping[str, npt.NDArray[Any]], noise: Noise = EXACT) -> Sketch:
    """Return the sketch of one kind from what ``encode_arrays`` returned.

    Args:
        name: The kind.
        arrays: The arrays of every kind.
        noise: The noise in them, named as they are.

    Raises:
        FingerprintError: If the kind is unknown or its arrays are impossible.
    """
    if name not in KINDS:
        raise FingerprintError(f"unknown kind of sketch {name!r}", remedy="update fedprint")
    own, own_noise = _own(name, arrays), _own(name, noise)
    if not set(own_noise) <= set(own):
        raise FingerprintError(f"a {name} sketch without {sorted(set(own_noise) - set(own))} has noise there")
    return KINDS[name].from_arrays(own, own_noise)


def _own(name: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return what belongs to one kind, without its name in front."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
