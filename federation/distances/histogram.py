"""Distances between histograms, and the two ways of computing all pairs of them in bounded memory."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from federation.distances.base import Comparable, Distance, Matrix
from federation.distances.stack import HistogramStack, slices, stack_pair
from federation.distances.threads import for_each
from federation.sketches import HistogramSketch

TILE = 1024  # sources and targets per matrix product
BLOCK = 2**23  # numbers held per side of a matrix product (64 MiB)
CHUNK = 2**18  # numbers a thread prepares at a time (2 MiB)
CURVE = 2**10  # numbers of one task that are compared pair by pair at a time
_SIDE = 32  # sources and targets whose curves then stay in a core's cache


@dataclass(frozen=True, kw_only=True)
class HistogramDistance(Distance):
    """A distance between two tasks' histograms over the same bins.

    Args:
        ordered_bins: Whether it matters which bins lie next to each other.
    """

    ordered_bins: bool
    needs: str = HistogramSketch.kind

    def matrix(self, sources: Sequence[Comparable], targets: Sequence[Comparable]) -> Matrix:
        """Return float64 [n_sources, n_targets]: the distance of every source to every target."""
        values = np.zeros((len(sources), len(targets)))
        if values.size:
            self._fill(values, *stack_pair(sources, targets))
        return np.maximum(values, 0.0, out=values) if self.non_negative else values

    @abstractmethod
    def _fill(self, values: Matrix, sources: HistogramStack, targets: HistogramStack) -> None:
        """Write the distances into the zeros of ``values``."""


@dataclass(frozen=True, kw_only=True)
class BilinearDistance(HistogramDistance):
    """A distance Σ_f w_s w_t (a(h_s) + b(h_t) − ⟨L(h_s), R(h_t)⟩): one matrix product gives all pairs.

    h_s and h_t are the frequencies of source and target in feature f. The terms a and b and the weights are
    appended to L and R as two more columns, so that nothing but the product is left to do.
    """

    @abstractmethod
    def _source_side(self, h: Matrix) -> tuple[Matrix, Matrix]:
        """Return L float64 [tasks, features, n_bins] and a float64 [tasks, features]."""

    @abstractmethod
    def _target_side(self, h: Matrix) -> tuple[Matrix, Matrix]:
        """Return R float64 [tasks, features, n_bins] and b float64 [tasks, features]."""

    def _weights(self, sources: HistogramStack, targets: HistogramStack) -> tuple[Matrix, Matrix]:
        """Return w_s and w_t, float64 [tasks, features]; their products sum to one over features."""
        n_features = sources.n_features
        ones = np.ones((len(sources), n_features))
        return ones, np.full((len(targets), n_features), 1.0 / n_features)

    def _fill(self, values: Matrix, sources: HistogramStack, targets: HistogramStack) -> None:
        source_weights, target_weights = self._weights(sources, targets)
        left = _Side(sources, source_weights, self._source_side, sign=1, term=-2, one=-1)
        right = _Side(targets, target_weights, self._target_side, sign=-1, term=-1, one=-2)
        blocks = _feature_blocks(sources, min(TILE, max(values.shape)))
        for rows in slices(len(sources), TILE):
            for columns in slices(len(targets), TILE):
                x, y = left.room(rows, blocks[0]), right.room(columns, blocks[0])
                for features in blocks:
                    values[rows, columns] += (
                        left.columns(rows, features, x) @ right.columns(columns, features, y).T
                    )


@dataclass(frozen=True)
class _Side:
    """One factor of the matrix product: per task and feature, its weight times (±vector, term, 1).

    Args:
        stack: The tasks.
        weights: float64 [tasks, features].
        transform: Frequencies → vectors and terms.
        sign: Of the vectors.
        term: Column of the terms, which meets the other side's 1.
        one: Column of the 1, which meets the other side's term.
    """

    stack: HistogramStack
    weights: Matrix
    transform: Callable[[Matrix], tuple[Matrix, Matrix]]
    sign: int
    term: int
    one: int

    def room(self, tasks: slice, features: slice) -> Matrix:
        """Return room for the columns of the largest block, to be used for every block."""
        size = (tasks.stop - tasks.start) * (features.stop - features.start) * (self.stack.n_bins + 2)
        return np.empty(size)

    def columns(self, tasks: slice, features: slice, room: Matrix) -> Matrix:
        """Return float64 [tasks, features · (n_bins + 2)], in ``room``."""
        weights = self.weights[tasks, features]
        shape = (*weights.shape, self.stack.n_bins + 2)
        columns = room[: math.prod(shape)].reshape(shape)

        def fill(part: slice) -> None:
            chosen = slice(tasks.start + part.start, tasks.start + part.stop)
            vectors, terms = self.transform(self.stack.frequencies(chosen, features))
            np.multiply(vectors, self.sign * weights[part, :, None], out=columns[part, :, :-2])
            columns[part, :, self.term] = weights[part] * terms
            columns[part, :, self.one] = weights[part]

        for_each(list(slices(len(weights), _tasks_per_chunk(columns))), fill)
        return columns.reshape(len(weights), -1)


@dataclass(frozen=True, kw_only=True)
class PairwiseDistance(HistogramDistance):
    """A distance Σ_f d(x_s, x_t) / n_features of curves x = X(h) that no matrix product can give.

    Pairs are compared tile by tile on all cores. A symmetric distance of tasks among themselves is
    computed once per pair.
    """

    @abstractmethod
    def _curves(self, h: Matrix) -> Matrix:
        """Return X(h), float64 [tasks, features, n_bins]."""

    @abstractmethod
    def _compare(self, left: Matrix, right: Matrix) -> Matrix:
        """Return Σ_f d, float64 [a, b], of curves float64 [a, n] and [b, n] that join several features."""

    def _fill(self, values: Matrix, sources: HistogramStack, targets: HistogramStack) -> None:
        mirrored = self.symmetric and sources.is_same_as(targets)
        for rows in slices(len(sources), TILE):
            for columns in slices(len(targets), TILE):
                if not mirrored or columns.start >= rows.start:
                    own = mirrored and columns.start == rows.start
                    self._fill_tile(values, (sources, rows), (targets, columns), upper=own)
        values /= sources.n_features
        if mirrored:
            lower = np.tril_indices(len(values), -1)
            values[lower] = values.T[lower]

    def _fill_tile(
        self,
        values: Matrix,
        left: tuple[HistogramStack, slice],
        right: tuple[HistogramStack, slice],
        *,
        upper: bool,
    ) -> None:
        stack = left[0]
        tile = values[left[1], right[1]]
        for features in slices(stack.n_features, max(1, CURVE // stack.n_bins)):
            ours = self._joined(*left, features)
            theirs = ours if upper else self._joined(*right, features)
            self._add(tile, ours, theirs, upper=upper)

    def _joined(self, stack: HistogramStack, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features · n_bins]: the curves of some features end to end."""
        curves = np.empty((tasks.stop - tasks.start, features.stop - features.start, stack.n_bins))

        def fill(part: slice) -> None:
            chosen = slice(tasks.start + part.start, tasks.start + part.stop)
            curves[part] = self._curves(stack.frequencies(chosen, features))

        for_each(list(slices(len(curves), _tasks_per_chunk(curves))), fill)
        return curves.reshape(len(curves), -1)

    def _add(self, values: Matrix, left: Matrix, right: Matrix, *, upper: bool) -> None:
        def compare(tile: tuple[slice, slice]) -> None:
            rows, columns = tile
            values[tile] += self._compare(left[rows], right[columns])

        tiles = [
            (rows, columns)
            for rows in slices(len(left), _SIDE)
            for columns in slices(len(right), _SIDE)
            if not upper or columns.start >= rows.start
        ]
        for_each(tiles, compare)


def _feature_blocks(stack: HistogramStack, n_tasks: int) -> list[slice]:
    size = max(1, BLOCK // (n_tasks * (stack.n_bins + 2)))
    return list(slices(stack.n_features, size))


def _tasks_per_chunk(block: Matrix) -> int:
    return max(1, CHUNK // (int(block.shape[1]) * int(block.shape[2])))
