"""Histogram sketches side by side, checked to be comparable."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from federation.distances.base import Comparable, Matrix
from federation.distances.stack import Histograms, bins_per_union, require_images
from federation.errors import FingerprintError, SpaceMismatchError
from federation.fingerprint import Fingerprint
from federation.sketches import HistogramSketch


@dataclass(frozen=True, eq=False)
class HistogramStack(Histograms):
    """Histogram sketches of one space, side by side.

    Args:
        sketches: At least one histogram; all of one shape and with the same edges.
        labels: What to call each of them in an error.
    """

    sketches: tuple[HistogramSketch, ...]
    labels: tuple[str, ...]
    _coarser: dict[int, "HistogramStack"] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.sketches)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.sketches[0].n_features

    @property
    def n_bins(self) -> int:
        """Number of bins per feature."""
        return self.sketches[0].n_bins

    def coarsened_to(self, n_bins: int) -> "HistogramStack":
        """Return the same tasks over wider bins where those are exact unions of the bins at hand."""
        factor = bins_per_union(self.n_bins, n_bins)
        if factor == 1:
            return self
        if factor not in self._coarser:
            merged = tuple(sketch.coarsen(factor) for sketch in self.sketches)
            self._coarser[factor] = HistogramStack(merged, self.labels)
        return self._coarser[factor]

    def is_same_as(self, other: Histograms) -> bool:
        """Return whether both hold the very same sketches in the same order."""
        return (
            isinstance(other, HistogramStack)
            and len(self) == len(other)
            and all(ours is theirs for ours, theirs in zip(self.sketches, other.sketches, strict=True))
        )

    def means(self) -> Matrix:
        """Return float64 [n_tasks, n_features] mean features."""
        return self._means

    @cached_property
    def _means(self) -> Matrix:
        return np.array([sketch.mean_features() for sketch in self.sketches])

    def frequencies(self, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features, n_bins] counts divided by the total of their row."""
        block = np.stack([sketch.balanced[features] for sketch in self.sketches[tasks]], dtype=np.float64)
        totals = np.einsum("tfb->tf", block)
        require_images(totals, self.labels[tasks])
        block /= totals[..., None]
        return block


def stack_pair(
    sources: Sequence[Comparable], targets: Sequence[Comparable]
) -> tuple[HistogramStack, HistogramStack]:
    """Return sources and targets as stacks, checked to be comparable.

    Args:
        sources: At least one histogram sketch or fingerprint.
        targets: Likewise.

    Raises:
        FingerprintError: If one is no histogram and carries none.
        SpaceMismatchError: If shapes, edges or space ids differ.
    """
    pair = stack(sources, "source"), stack(targets, "target")
    require_one_space_id([*sources, *targets])
    for first, second in pairwise(_everyone(*pair)):
        _require_same_bins(first, second)
    return pair


def stack(items: Sequence[Comparable], role: str) -> HistogramStack:
    """Return sketches, or the histograms of fingerprints, as one stack.

    Args:
        items: At least one.
        role: What to call sketches in an error.

    Raises:
        FingerprintError: If one is no histogram and carries none.
    """
    labels = tuple(
        item.key if isinstance(item, Fingerprint) else f"{role} {i}" for i, item in enumerate(items)
    )
    return HistogramStack(tuple(map(_histogram, items, labels)), labels)


def _histogram(item: Comparable, label: str) -> HistogramSketch:
    sketch = item.histogram if isinstance(item, Fingerprint) else item
    if not isinstance(sketch, HistogramSketch):
        raise FingerprintError(
            f"{label} is a {type(sketch).__name__}, expected a HistogramSketch or a fingerprint with one"
        )
    return sketch


def require_one_space_id(items: Sequence[Comparable]) -> None:
    """Raise unless all fingerprints among some comparable things are of one space.

    Raises:
        SpaceMismatchError: If they are not.
    """
    known = {item.space_id: item.key for item in items if isinstance(item, Fingerprint)}
    if len(known) > 1:
        (one, a), (other, b) = list(known.items())[:2]
        raise SpaceMismatchError(
            f"{a} lives in space {one[:12]} and {b} in space {other[:12]}",
            remedy="compare fingerprints of one space",
        )


def _everyone(*stacks: HistogramStack) -> Iterator[tuple[str, HistogramSketch]]:
    for stack in stacks:
        yield from zip(stack.labels, stack.sketches, strict=True)


def _require_same_bins(first: tuple[str, HistogramSketch], second: tuple[str, HistogramSketch]) -> None:
    (a, ours), (b, theirs) = first, second
    if ours.counts.shape != theirs.counts.shape:
        raise SpaceMismatchError(
            f"{a} has {ours.n_features} features × {ours.n_bins} bins and {b} has {theirs.n_features} × "
            f"{theirs.n_bins}",
            remedy="compare histograms of one space",
        )
    if ours.edges is theirs.edges:
        return
    if ours.edges is None or theirs.edges is None:
        bare = a if ours.edges is None else b
        raise SpaceMismatchError(
            f"{bare} carries no bin edges and {b if bare == a else a} does",
            remedy="bind both fingerprints to their space",
        )
    if not np.array_equal(ours.edges, theirs.edges):
        raise SpaceMismatchError(
            f"{a} and {b} have {ours.n_features} × {ours.n_bins} bins with different edges",
            remedy="compare histograms of one space",
        )
