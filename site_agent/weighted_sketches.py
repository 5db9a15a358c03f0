"""Sums over images that count several times each, without computing anything several times."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from federation.sketches import Sketch

S = TypeVar("S", bound=Sketch)


@dataclass(frozen=True)
class WeightedSketches:
    """Sketches kept apart by how often their images count, until ``total`` puts them together.

    Every image is rounded by itself before it is summed, so counting it w times is w times what it adds, to
    the last bit.

    Args:
        zeros: Kind → sketch of no images.
        by_weight: How often images count → kind → sketch of these images, each counted once.
    """

    zeros: Mapping[str, Sketch]
    by_weight: Mapping[int, Mapping[str, Sketch]] = field(default_factory=dict)

    def with_more(self, features: npt.NDArray[Any], weights: npt.NDArray[np.int64]) -> "WeightedSketches":
        """Return the sketches with more images.

        Args:
            features: float [n_images, n_features].
            weights: int64 [n_images], how often each counts, at least once.
        """
        grown = dict(self.by_weight)
        for weight in np.unique(weights).tolist():
            part = features[weights == weight]
            sketches = grown.get(weight, self.zeros)
            grown[weight] = {kind: sketch.update(part) for kind, sketch in sketches.items()}
        return replace(self, by_weight=grown)

    def total(self) -> dict[str, Sketch]:
        """Return kind → sketch in which every image counts as often as it should.

        Raises:
            FingerprintError: If a sum would leave 64 bits.
        """
        return {kind: self._total(kind, zero) for kind, zero in self.zeros.items()}

    def _total(self, kind: str, zero: Sketch) -> Sketch:
        parts = [times(sketches[kind], weight) for weight, sketches in self.by_weight.items()]
        return reduce(add, parts) if parts else zero


def times(sketch: S, n: int) -> S:
    """Return the sketch of images that all count n times, by doubling: sums that overflow are noticed.

    Args:
        sketch: Of these images, each counted once.
        n: At least 1.
    """
    result, doubled = (sketch if n % 2 else None), sketch
    while n := n // 2:
        doubled = doubled + doubled
        if n % 2:
            result = doubled if result is None else result + doubled
    if result is None:
        raise ValueError("images that count less than once")
    return result
