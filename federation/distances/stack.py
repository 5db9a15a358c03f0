"""Many histograms as one: checked to share a space, read as blocks of frequencies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from federation.distances.base import Comparable, Matrix
from federation.errors import FingerprintError, SpaceMismatchError
from federation.fingerprint import Fingerprint
from federation.sketches import HistogramSketch


@dataclass(frozen=True)
class HistogramStack:
    """Histograms of one space, side by side.

    Args:
        sketches: At least one histogram; all of one shape and with the same edges.
        labels: What to call each of them in an error.
    """

    sketches: tuple[HistogramSketch, ...]
    labels: tuple[str, ...]

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

    def coarsened_to(self, n_bins: int) -> Self:
        """Return the same tasks over ``n_bins`` bins where those are exact unions of the bins at hand.

        Other numbers of bins stay as they are.
        """
        factor, rest = divmod(self.n_bins, n_bins)
        if rest or factor < 2:
            return self
        return type(self)(tuple(sketch.coarsen(factor) for sketch in self.sketches), self.labels)

    def is_same_as(self, other: "HistogramStack") -> bool:
        """Return whether both hold the very same sketches in the same order."""
        return len(self) == len(other) and all(
            ours is theirs for ours, theirs in zip(self.sketches, other.sketches, strict=True)
        )

    def means(self) -> Matrix:
        """Return float64 [n_tasks, n_features] mean features."""
        return np.array([sketch.mean_features() for sketch in self.sketches])

    def frequencies(self, tasks: slice, features: slice) -> Matrix:
        """Return float64 [tasks, features, n_bins] counts divided by the total of their row.

        Raises:
            FingerprintError: If a row is empty.
        """
        block = np.stack([sketch.counts[features] for sketch in self.sketches[tasks]], dtype=np.float64)
        totals = np.einsum("tfb->tf", block)[..., None]
        if not (totals > 0).all():
            first = int(np.flatnonzero((totals <= 0).any(axis=(1, 2)))[0])
            raise FingerprintError(
                f"the histogram of {self.labels[tasks][first]} holds no images",
                remedy="leave the task out, or fingerprint it again",
            )
        block /= totals
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
    pair = _stack(sources, "source"), _stack(targets, "target")
    require_one_space_id([*sources, *targets])
    for first, second in pairwise(_everyone(*pair)):
        _require_same_bins(first, second)
    return pair


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


def slices(total: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices of ``size`` that cover ``range(total)``."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def _stack(items: Sequence[Comparable], role: str) -> HistogramStack:
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
