"""Fisher embeddings of many tasks, checked to be comparable and read block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from federation.distances.base import Comparable, Matrix
from federation.errors import FingerprintError, SpaceMismatchError
from federation.fingerprint import Fingerprint
from federation.sketches import FisherSketch


@dataclass(frozen=True)
class EmbeddingStack:
    """Fisher sketches of one space, side by side.

    Args:
        sketches: At least one; all with the same parameters.
        labels: What to call each of them in an error.
    """

    sketches: tuple[FisherSketch, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sketches)

    @property
    def n_weights(self) -> int:
        """Numbers per sketch."""
        return len(self.sketches[0].sums)

    def columns(self, part: slice) -> Matrix:
        """Return float64 [n_tasks, len(part)]: columns of the sums, which are multiples of embeddings."""
        return np.stack([sketch.sums[part] for sketch in self.sketches], dtype=np.float64)

    def per_filter(self) -> Matrix:
        """Return float64 [n_tasks, n_filters]: mean over images and over the inputs of every filter."""
        return np.stack([sketch.filter_embedding() for sketch in self.sketches])

    def is_same_as(self, other: "EmbeddingStack") -> bool:
        """Return whether both hold the very same sketches in the same order."""
        return len(self) == len(other) and all(
            ours is theirs for ours, theirs in zip(self.sketches, other.sketches, strict=True)
        )


def embedding_pair(
    sources: Sequence[Comparable], targets: Sequence[Comparable]
) -> tuple[EmbeddingStack, EmbeddingStack]:
    """Return sources and targets as stacks, checked to be comparable.

    Args:
        sources: At least one Fisher sketch or fingerprint that carries one.
        targets: Likewise.

    Raises:
        FingerprintError: If one is no Fisher sketch and carries none, or holds no images.
        SpaceMismatchError: If space ids or parameters differ.
    """
    left, right = _stack(sources, "source"), _stack(targets, "target")
    first = left.sketches[0]
    for stack in (left, right):
        for label, sketch in zip(stack.labels, stack.sketches, strict=True):
            if len(sketch.sums) != len(first.sums) or sketch.parameters_of_space != first.parameters_of_space:
                raise SpaceMismatchError(
                    f"{left.labels[0]} has {len(first.sums)} Fisher numbers and {label} has "
                    f"{len(sketch.sums)}, or they were estimated differently",
                    remedy="compare Fisher sketches of one space, bound to it",
                )
    _require_one_space_id([*sources, *targets])
    return left, right


def _stack(items: Sequence[Comparable], role: str) -> EmbeddingStack:
    labels = tuple(
        item.key if isinstance(item, Fingerprint) else f"{role} {i}" for i, item in enumerate(items)
    )
    return EmbeddingStack(tuple(map(_fisher, items, labels)), labels)


def _fisher(item: Comparable, label: str) -> FisherSketch:
    sketch = item.sketches.get(FisherSketch.kind) if isinstance(item, Fingerprint) else item
    if not isinstance(sketch, FisherSketch):
        raise FingerprintError(
            f"{label} is a {type(item).__name__}, expected a FisherSketch or a fingerprint with one"
        )
    if sketch.n < 1:
        raise FingerprintError(
            f"the Fisher sketch of {label} holds no images",
            remedy="leave the task out, or fingerprint it again",
        )
    return sketch


def _require_one_space_id(items: Sequence[Comparable]) -> None:
    known = {item.space_id: item.key for item in items if isinstance(item, Fingerprint)}
    if len(known) > 1:
        (one, a), (other, b) = list(known.items())[:2]
        raise SpaceMismatchError(
            f"{a} lives in space {one[:12]} and {b} in space {other[:12]}",
            remedy="compare fingerprints of one space",
        )
