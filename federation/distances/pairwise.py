"""Distances that compare pair by pair, tile by tile on all cores."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from federation.distances.base import Matrix
from federation.distances.histogram import Ask, HistogramDistance
from federation.distances.side import Side
from federation.distances.stack import Block, Histograms, parts, slices, within
from federation.threads import for_each

TILE = 1024  # sources and targets per tile
CURVE = 2**10  # numbers of one task that are compared pair by pair at a time
_SIDE = 32  # sources and targets whose vectors then stay in a core's cache


@dataclass(frozen=True, kw_only=True)
class PairwiseDistance(HistogramDistance):
    """A distance Σ_f (a(h_s) + a(h_t) + d(x_s, x_t)) / n_features that no matrix product can give.

    x are the vectors and a is the term of a side that sources and targets share. Pairs are compared tile by
    tile on all cores. A symmetric distance of tasks among themselves is computed once per pair.
    """

    side: ClassVar[Side]

    @abstractmethod
    def _compare(self, left: Matrix, right: Matrix) -> Matrix:
        """Return Σ_f d, float64 [a, b], of vectors float64 [a, n] and [b, n] that join several features."""

    def _fill(self, values: Matrix, sources: Histograms, targets: Histograms) -> None:
        if isinstance(sources, Block) and isinstance(targets, Block):
            values += self._between_blocks(sources, targets)
        else:
            self._fill_all(values, sources, targets)
        values += self.side.terms(sources).sum(axis=1)[:, None] + self.side.terms(targets).sum(axis=1)
        values /= sources.n_features

    def asks(self, few: Block, *, both_ways: bool) -> dict[object, Ask]:
        """Return the comparison itself."""
        del both_ways
        return {self.name: partial(self._between_blocks, few)}

    def _between_blocks(self, sources: Block, targets: Block) -> Matrix:
        """Return Σ_f d, float64 [n_sources, n_targets], remembered by the targets."""
        mirrored = sources.remembered(targets, self.name) if self.symmetric else None
        if mirrored is not None:
            return mirrored

        def compare() -> Matrix:
            left, right = (x.every(self.side.vectors).reshape(len(x), -1) for x in (sources, targets))
            return self._compare(left, right).T

        return targets.compared(sources, self.name, compare).T

    def _fill_all(self, values: Matrix, sources: Histograms, targets: Histograms) -> None:
        mirrored = self.symmetric and sources.is_same_as(targets)
        for rows in slices(len(sources), TILE):
            for columns in slices(len(targets), TILE):
                if not mirrored or columns.start >= rows.start:
                    own = mirrored and columns.start == rows.start
                    self._fill_tile(values, (sources, rows), (targets, columns), upper=own)
        if mirrored:
            lower = np.tril_indices(len(values), -1)
            values[lower] = values.T[lower]

    def _fill_tile(
        self,
        values: Matrix,
        left: tuple[Histograms, slice],
        right: tuple[Histograms, slice],
        *,
        upper: bool,
    ) -> None:
        stack = left[0]
        tile = values[left[1], right[1]]
        for features in slices(stack.n_features, max(1, CURVE // stack.n_bins)):
            ours = self._joined(*left, features)
            theirs = ours if upper else self._joined(*right, features)
            self._add(tile, ours, theirs, upper=upper)

    def _joined(self, stack: Histograms, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features · n_bins]: the vectors of some features end to end."""
        joined = np.empty((tasks.stop - tasks.start, features.stop - features.start, stack.n_bins))

        def compute(part: slice) -> None:
            joined[part] = stack.vectors(self.side.vectors, within(tasks, part), features)

        for_each(parts(joined), compute)
        return joined.reshape(len(joined), -1)

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
