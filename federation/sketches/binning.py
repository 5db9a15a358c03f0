"""Which bin each feature value falls into, for all features at once."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from federation.space import Edges

# Distance to an edge, in bins, that rounding stays well below.
_NEAR_EDGE: dict["np.dtype[Any]", float] = {np.dtype(np.float32): 1e-3, np.dtype(np.float64): 1e-6}
_ROWS = 64  # rows per pass: the intermediate arrays of a pass then stay in the processor's cache

Bins = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Grid:
    """Arithmetic that tells the position of a value in bins, in one floating-point format.

    Position never decreases as a value grows. An explicit edge is known to lie within half of ``near`` of
    its whole number, so a position farther than ``near`` from every whole number is in the right bin.

    Args:
        low: float [n_features], the lowest edge; 0 for uneven features.
        per_unit: float [n_features], bins per unit of the feature; 0 for uneven features.
        near: Positions that are this close to a whole number must be compared with the explicit edge.
        uneven: int64 indices of features that no such arithmetic fits.
    """

    low: npt.NDArray[np.floating[Any]]
    per_unit: npt.NDArray[np.floating[Any]]
    near: float
    uneven: npt.NDArray[np.int64]

    @classmethod
    def of(cls, edges: Edges, dtype: "np.dtype[Any]") -> Self:
        """Measure which features are even enough for arithmetic in ``dtype``."""
        n_bins, near = edges.shape[1] - 1, _NEAR_EDGE[dtype]
        with np.errstate(all="ignore"):
            rounded = edges.astype(dtype)
            first = np.where(rounded < edges, np.nextafter(rounded, dtype.type(np.inf)), rounded)
            low, per_unit = rounded[:, 0], (n_bins / (edges[:, -1] - edges[:, 0])).astype(dtype)
            position = (first - low[:, None]) * per_unit[:, None]
            even = np.abs(position - np.arange(n_bins + 1)).max(axis=1) < near / 2
        zero = dtype.type(0)
        low, per_unit = np.where(even, low, zero), np.where(even, per_unit, zero)
        return cls(low, per_unit, near, np.flatnonzero(~even))


class Binner:
    """Counts feature values into explicit bins.

    A value ``x`` belongs to bin ``b`` when ``edges[b] <= x < edges[b + 1]``; values beyond the outer edges
    belong to the outer bins. Where edges are evenly spaced the bin is found arithmetically and compared
    with the explicit edge where rounding could matter; elsewhere it is looked up. Both ways agree on every
    value.

    Args:
        edges: float64 [n_features, n_bins + 1], non-decreasing along bins.
    """

    def __init__(self, edges: Edges) -> None:
        self.edges = edges
        self.n_features, self.n_bins = edges.shape[0], edges.shape[1] - 1
        self._row_start = np.arange(self.n_features) * self.n_bins
        self._single, self._double = (_Grid.of(edges, dtype) for dtype in _NEAR_EDGE)

    def count(self, features: npt.NDArray[Any], onto: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return counts with those of more values added.

        Args:
            features: float [n_images, n_features].
            onto: int64 [n_features, n_bins], left as it is.
        """
        counts = onto.flatten()
        for start in range(0, len(features), _ROWS):
            block = self.bins(features[start : start + _ROWS])
            block += self._row_start
            np.add.at(counts, block.ravel(), 1)
        return counts.reshape(self.n_features, self.n_bins)

    def bins(self, features: npt.NDArray[Any]) -> Bins:
        """Return int64 [n_images, n_features]: the bin of every value."""
        features = np.ascontiguousarray(features)
        single = features.dtype == np.float32 and not len(self._single.uneven)
        grid = self._single if single else self._double
        if len(grid.uneven) == self.n_features:
            return self._search(features, grid.uneven)
        bins = self._arithmetic(features, grid)
        if len(grid.uneven):
            bins[:, grid.uneven] = self._search(features[:, grid.uneven], grid.uneven)
        return bins

    def _arithmetic(self, features: npt.NDArray[Any], grid: _Grid) -> Bins:
        with np.errstate(over="ignore"):
            position = (features - grid.low) * grid.per_unit
        np.clip(position, 0.5, self.n_bins - 0.5, out=position)
        bins: Bins = position.astype(np.int64)
        nearest = np.rint(position)
        position -= nearest
        np.abs(position, out=position)
        doubtful = np.flatnonzero(position < grid.near)
        edge = nearest.ravel()[doubtful].astype(np.int64)
        below = features.ravel()[doubtful] < self.edges[doubtful % self.n_features, edge]
        bins.ravel()[doubtful] = edge - below
        return bins

    def _search(self, features: npt.NDArray[Any], columns: npt.NDArray[np.int64]) -> Bins:
        """Binary search of every value among the edges of its own feature, in lockstep."""
        values, first = features.astype(np.float64), columns * (self.n_bins + 1)
        flat, low = self.edges.ravel(), np.zeros(features.shape, dtype=np.int64)
        high = np.full_like(low, self.n_bins)
        while (high - low).max(initial=0) > 1:
            middle = (low + high) >> 1
            above = values >= flat[first + middle]
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return low
