"""Distances of which one matrix product gives all pairs."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from federation.distances.base import Matrix
from federation.distances.histogram import Ask, HistogramDistance
from federation.distances.side import Side, side_values
from federation.distances.stack import Block, Embedding, Histograms, parts, slices, within
from federation.threads import for_each

TILE = 1024  # sources and targets per matrix product
BLOCK = 2**23  # numbers held per side of a matrix product (64 MiB)


@dataclass(frozen=True, kw_only=True)
class BilinearDistance(HistogramDistance):
    """A distance Σ_f w_s w_t (a(h_s) + b(h_t) − c ⟨L(h_s), R(h_t)⟩): one matrix product gives all pairs.

    h_s and h_t are the frequencies of source and target in feature f; a and L are the term and the scaled
    vectors of the source's side, b and R of the target's, c is the factor.
    """

    source: ClassVar[Side]
    target: ClassVar[Side]
    factor: ClassVar[float] = 1.0

    def _weights(self, sources: Histograms, targets: Histograms) -> tuple[Matrix, Matrix]:
        """Return w_s and w_t, float64 [tasks, features]; their products sum to one over features."""
        n_features = sources.n_features
        ones = np.ones((len(sources), n_features))
        return ones, np.full((len(targets), n_features), 1.0 / n_features)

    def _fill(self, values: Matrix, sources: Histograms, targets: Histograms) -> None:
        weights = self._weights(sources, targets)
        if isinstance(sources, Block) and isinstance(targets, Block):
            self._fill_few(values, (sources, weights[0]), (targets, weights[1]))
        else:
            self._fill_all(values, (sources, weights[0]), (targets, weights[1]))

    def asks(self, few: Block, *, both_ways: bool) -> dict[object, Ask]:
        """Return the inner products that are needed."""
        pairs = [(self.target.vectors, self.source.vectors)]
        if both_ways and not self.symmetric:
            pairs.append((self.source.vectors, self.target.vectors))
        return {pair: partial(_multiply, few, *pair) for pair in pairs}

    def _fill_few(self, values: Matrix, left: tuple[Block, Matrix], right: tuple[Block, Matrix]) -> None:
        (sources, source_weights), (targets, target_weights) = left, right
        own, other = self.source.values(sources), self.target.values(targets)
        products = sources.products(self.source.vectors, targets, self.target.vectors)
        scaled = self.factor * own.scales[:, None] * other.scales * products
        per_feature = own.terms[:, None] + other.terms - scaled
        values += np.einsum("stf,sf,tf->st", per_feature, source_weights, target_weights)

    def _fill_all(
        self, values: Matrix, left: tuple[Histograms, Matrix], right: tuple[Histograms, Matrix]
    ) -> None:
        (sources, source_weights), (targets, target_weights) = left, right
        own, other = side_values(sources, self.source, targets, self.target)
        values += (source_weights * own.terms) @ target_weights.T
        values += source_weights @ (target_weights * other.terms).T
        root = np.sqrt(self.factor * source_weights.max() * target_weights.max())
        ours = _Columns(sources, _relative(source_weights) * own.scales * root, self.source.vectors)
        theirs = _Columns(targets, _relative(target_weights) * other.scales * root, self.target.vectors)
        theirs = ours if ours.are_those_of(theirs) else theirs
        blocks = _feature_blocks(sources, min(TILE, max(values.shape)))
        for rows in slices(len(sources), TILE):
            for columns in slices(len(targets), TILE):
                x, y = ours.room(rows, blocks[0]), theirs.room(columns, blocks[0])
                for features in blocks:
                    left_side = ours.fill(rows, features, x)
                    same = ours is theirs and rows == columns
                    right_side = left_side if same else theirs.fill(columns, features, y)
                    values[rows, columns] -= left_side @ right_side.T


@dataclass(frozen=True)
class _Columns:
    """One factor of the matrix product: per task and feature, its weight times its vector.

    Args:
        stack: The tasks.
        weights: float64 [tasks, features].
        embedding: Frequencies → vectors.
    """

    stack: Histograms
    weights: Matrix
    embedding: Embedding

    def are_those_of(self, other: "_Columns") -> bool:
        """Return whether both are the same numbers."""
        return (
            self.embedding is other.embedding
            and self.stack.is_same_as(other.stack)
            and np.array_equal(self.weights, other.weights)
        )

    def room(self, tasks: slice, features: slice) -> Matrix:
        """Return room for the columns of the largest block, to be used for every block."""
        return np.empty((tasks.stop - tasks.start) * (features.stop - features.start) * self.stack.n_bins)

    def fill(self, tasks: slice, features: slice, room: Matrix) -> Matrix:
        """Return float64 [tasks, features · n_bins], in ``room``."""
        weights = self.weights[tasks, features]
        shape = (*weights.shape, self.stack.n_bins)
        columns = room[: math.prod(shape)].reshape(shape)

        def compute(part: slice) -> None:
            vectors = self.stack.vectors(self.embedding, within(tasks, part), features)
            np.multiply(vectors, weights[part, :, None], out=columns[part])

        for_each(parts(columns), compute)
        return columns.reshape(len(weights), -1)


def _multiply(few: Block, theirs: Embedding, ours: Embedding, task: Block) -> Matrix:
    return task.products(theirs, few, ours)


def _relative(weights: Matrix) -> Matrix:
    """Weights as shares of the largest: uniform ones become 1 on both sides, which can then share columns."""
    return np.asarray(weights / weights.max())


def _feature_blocks(stack: Histograms, n_tasks: int) -> list[slice]:
    size = max(1, BLOCK // (n_tasks * stack.n_bins))
    return list(slices(stack.n_features, size))
