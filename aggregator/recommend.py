"""Which sources to try for a target."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from aggregator.matrix import SimilarityMatrix
from federation.ranking import Candidates, Recommendation, rank_sources


class Recommender(Protocol):
    """Anything that orders the possible sources of a target."""

    def recommend(self, candidates: Candidates) -> list[Recommendation]:
        """Return every source, best first, with reasons."""
        ...


class NearestFirst:
    """Ranks by one distance, without any measured outcome.

    Args:
        distance: Name of the distance.
    """

    def __init__(self, distance: str) -> None:
        self.distance = distance

    def recommend(self, candidates: Candidates) -> list[Recommendation]:
        """Return every source, nearest first."""
        return rank_sources(candidates, self.distance)


def candidates(matrices: Mapping[str, SimilarityMatrix], target: str) -> Candidates:
    """Return everything known about the possible sources of a target.

    Args:
        matrices: Distance name → matrix, all over the same tasks.
        target: Address or unambiguous name of the target.

    Raises:
        UnknownNameError: If there is no such target.
    """
    any_matrix = next(iter(matrices.values()))
    position = any_matrix.index(target)
    others = np.array([i for i in range(len(any_matrix.keys)) if i != position], dtype=np.int64)
    return Candidates(
        target=any_matrix.keys[position],
        sources=[any_matrix.keys[i] for i in others],
        values={name: m.values[others, position] for name, m in matrices.items()},
        cards={f.key: f.card for f in any_matrix.fingerprints},
    )
