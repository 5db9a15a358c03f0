"""Distances between histograms, and how a few tasks are compared with many that are read once."""

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from federation.distances.base import Comparable, Distance, Matrix
from federation.distances.noise import without_noise
from federation.distances.sketch_stack import stack_pair
from federation.distances.stack import Block, Histograms, Room
from federation.sketches import HistogramSketch
from federation.threads import for_each

Ask: TypeAlias = Callable[[Block], object]
"""Makes a block of tasks remember how it compares with a few others."""

_ROUNDING = 1e-9
FEW = 4  # tasks that are compared with many others without a matrix product


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
        ours, theirs = stack_pair(sources, targets)
        return without_noise(self.noise_model, self.between(ours, theirs), ours.sketches, theirs.sketches)

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
        if self.non_negative:  # below it is noise in the counts, whose order must not be lost
            np.copyto(values, 0.0, where=(values < 0) & (values > -_ROUNDING))

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
