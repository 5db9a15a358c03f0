"""Distances of new tasks to and from a catalogue, by several distances in one reading of it."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from federation.distances.base import Matrix
from federation.distances.histogram import FEW, HistogramDistance, with_many
from federation.distances.stack import Block, Histograms

RowsAndColumns: TypeAlias = tuple[Matrix, Matrix]


def rows_and_columns(
    distances: Sequence[HistogramDistance], newcomers: Histograms, everyone: Histograms
) -> list[RowsAndColumns]:
    """Return, per distance, float64 [new, all] with newcomers as sources and [all, new] with them as targets.

    A few newcomers are compared by every distance while a chunk of tasks is in the cache, so that a catalogue
    larger than memory is read once. Many are compared by one distance after the other.

    Args:
        distances: The distances.
        newcomers: Tasks of the same space.
        everyone: The tasks to compare them with.

    Raises:
        FingerprintError: If a histogram holds no images.
    """
    if len(newcomers) > FEW:
        return [_one_by_one(distance, newcomers, everyone) for distance in distances]
    shape = (len(newcomers), len(everyone))
    found = [(np.zeros(shape), np.zeros(shape[::-1])) for _ in distances]

    def compare(ours: Block, theirs: Block, part: slice) -> None:
        for distance, (rows, columns) in zip(distances, found, strict=True):
            distance.fill(rows[:, part], ours, theirs)
            if distance.symmetric:
                columns[part] = rows[:, part].T
            else:
                distance.fill(columns[part], theirs, ours)

    with_many(distances, newcomers, everyone, compare, both_ways=True)
    return found


def _one_by_one(distance: HistogramDistance, newcomers: Histograms, everyone: Histograms) -> RowsAndColumns:
    rows = distance.between(newcomers, everyone)
    return rows, rows.T if distance.symmetric else distance.between(everyone, newcomers)
