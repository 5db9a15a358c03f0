"""Distances between histograms, and the two ways of computing all pairs of them in bounded memory."""

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeAlias

import numpy as np

from federation.distances.base import Comparable, Distance, Matrix
from federation.distances.sketch_stack import stack_pair
from federation.distances.stack import (
    PART,
    Block,
    Embedding,
    Histograms,
    Room,
    Term,
    slices,
)
from federation.distances.threads import for_each
from federation.sketches import HistogramSketch

Ask: TypeAlias = Callable[[Block], object]
"""Makes a block of tasks remember how it compares with a few others."""

TILE = 1024  # sources and targets per matrix product
BLOCK = 2**23  # numbers held per side of a matrix product (64 MiB)
FEW = 4  # tasks that are compared with many others without a matrix product
CURVE = 2**10  # numbers of one task that are compared pair by pair at a time
_SIDE = 32  # sources and targets whose vectors then stay in a core's cache


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
        if not (len(sources) and len(targets)):
            return np.zeros((len(sources), len(targets)))
        return self.between(*stack_pair(sources, targets))

    def between(self, sources: Histograms, targets: Histograms) -> Matrix:
        """Return float64 [n_sources, n_targets] of histograms of one space.

        Raises:
            FingerprintError: If a histogram holds no images.
        """
        values = np.zeros((len(sources), len(targets)))
        if len(sources) <= FEW:
            with_many([self], sources, targets, lambda a, b, part: self.fill(values[:, part], a, b))
        elif len(targets) <= FEW:
            with_many(
                [self], targets, sources, lambda a, b, part: self.fill(values[part], b, a), both_ways=True
            )
        else:
            self.fill(values, sources, targets)
        return values

    def fill(self, values: Matrix, sources: Histograms, targets: Histograms) -> None:
        """Write the distances into the zeros of ``values``, float64 [n_sources, n_targets]."""
        self._fill(values, sources, targets)
        if self.non_negative:
            np.maximum(values, 0.0, out=values)

    def asks(self, few: Block, *, both_ways: bool) -> dict[object, Ask]:
        """Return how a few tasks and others are compared in ways that ``fill`` needs and blocks remember.

        Args:
            few: The few, as sources.
            both_ways: Whether distances from the others to the few will be wanted as well.

        Returns:
            Name of the comparison, which distances may share → what makes the others remember it.
        """
        del few, both_ways
        return {}

    @abstractmethod
    def _fill(self, values: Matrix, sources: Histograms, targets: Histograms) -> None:
        """Write the distances into the zeros of ``values``."""


def with_many(
    distances: Sequence[HistogramDistance],
    few: Histograms,
    many: Histograms,
    work: Callable[[Block, Block, slice], None],
    *,
    both_ways: bool = False,
) -> None:
    """Compare a few tasks with many, which are read once, chunk by chunk, on all cores.

    Args:
        distances: The distances by which ``work`` compares.
        few: Tasks that are held in memory meanwhile.
        many: Any number of tasks.
        work: Called with the few, a chunk of the many, and where in ``many`` that chunk lies.
        both_ways: Whether the many are compared as sources as well.
    """
    ours = few.block(slice(0, len(few)), Room())
    asks: list[Ask] = list(
        {how: ask for d in distances for how, ask in d.asks(ours, both_ways=both_ways).items()}.values()
    )
    own = threading.local()

    def compare(part: slice) -> None:
        room: Room = own.__dict__.setdefault("room", Room())
        met = []
        for piece in many.pieces(part, room):
            for ask in asks:  # while the piece is in the core's cache
                ask(piece)
            piece.forget_vectors()
            met.append(piece)
        chunk = many.block(part, room)
        chunk.learn(ours, met)
        work(ours, chunk, part)

    for_each(many.chunks(), compare)


@dataclass(frozen=True)
class Side:
    """What a distance makes of one of the two tasks.

    Args:
        vectors: Embedding of frequencies, to be compared with that of the other task.
        term: What is added per histogram, if anything.
        scale: What the vectors are multiplied by per histogram, if anything.
    """

    vectors: Embedding
    term: Term | None = None
    scale: Term | None = None

    def terms(self, stack: Histograms) -> Matrix:
        """Return float64 [n_tasks, n_features]: what is added per histogram."""
        return self.values(stack).terms

    def values(self, stack: Histograms) -> "SideValues":
        """Return what is added and multiplied by per histogram."""
        asked = [term for term in (self.term, self.scale) if term is not None]
        return self.chosen(stack, dict(zip(asked, stack.several_terms(asked), strict=True)))

    def chosen(self, stack: Histograms, known: Mapping[Term, Matrix]) -> "SideValues":
        """Return this side's among the known terms of a stack."""
        shape = (len(stack), stack.n_features)
        terms = np.zeros(shape) if self.term is None else known[self.term]
        return SideValues(terms, np.ones(shape) if self.scale is None else known[self.scale])


@dataclass(frozen=True)
class SideValues:
    """What a side makes of histograms besides vectors, float64 [n_tasks, n_features] each.

    Args:
        terms: What is added.
        scales: What the vectors are multiplied by.
    """

    terms: Matrix
    scales: Matrix


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
        own, other = _side_values(sources, self.source, targets, self.target)
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
            vectors = self.stack.vectors(self.embedding, _within(tasks, part), features)
            np.multiply(vectors, weights[part, :, None], out=columns[part])

        for_each(list(slices(len(weights), _tasks_per_chunk(columns))), compute)
        return columns.reshape(len(weights), -1)


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
            joined[part] = stack.vectors(self.side.vectors, _within(tasks, part), features)

        for_each(list(slices(len(joined), _tasks_per_chunk(joined))), compute)
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


def _multiply(few: Block, theirs: Embedding, ours: Embedding, task: Block) -> Matrix:
    return task.products(theirs, few, ours)


def _side_values(
    sources: Histograms, source: Side, targets: Histograms, target: Side
) -> tuple[SideValues, SideValues]:
    """Values of both sides; those of tasks among themselves from one reading."""
    if not sources.is_same_as(targets):
        return source.values(sources), target.values(targets)
    both = (source.term, source.scale, target.term, target.scale)
    asked = list({term: None for term in both if term is not None})
    known = dict(zip(asked, sources.several_terms(asked), strict=True))
    return source.chosen(sources, known), target.chosen(targets, known)


def _relative(weights: Matrix) -> Matrix:
    """Weights as shares of the largest: uniform ones become 1 on both sides, which can then share columns."""
    return np.asarray(weights / weights.max())


def _feature_blocks(stack: Histograms, n_tasks: int) -> list[slice]:
    size = max(1, BLOCK // (n_tasks * stack.n_bins))
    return list(slices(stack.n_features, size))


def _tasks_per_chunk(block: Matrix) -> int:
    return max(1, PART // (int(block.shape[1]) * int(block.shape[2])))


def _within(tasks: slice, part: slice) -> slice:
    return slice(tasks.start + part.start, tasks.start + part.stop)
