"""What a distance makes of one of the two histograms that it compares."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from federation.distances.base import Matrix
from federation.distances.stack import Embedding, Histograms, Term


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


def side_values(
    sources: Histograms, source: Side, targets: Histograms, target: Side
) -> tuple[SideValues, SideValues]:
    """Values of both sides; those of tasks among themselves from one reading."""
    if not sources.is_same_as(targets):
        return source.values(sources), target.values(targets)
    both = (source.term, source.scale, target.term, target.scale)
    asked = list({term: None for term in both if term is not None})
    known = dict(zip(asked, sources.several_terms(asked), strict=True))
    return source.chosen(sources, known), target.chosen(targets, known)
