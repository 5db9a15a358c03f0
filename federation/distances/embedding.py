"""Fisher embeddings of many tasks, checked to be comparable and read block by block."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from federation.distances.base import Comparable, Matrix
from federation.distances.sketched import sketch_pair
from federation.sketches import FisherSketch


@dataclass(frozen=True)
class EmbeddingStack:
    """Fisher sketches of one space, side by side.

    Args:
        sketches: At least one; all with the same parameters.
    """

    sketches: tuple[FisherSketch, ...]

    def __len__(self) -> int:
        return len(self.sketches)

    @property
    def n_weights(self) -> int:
        """Numbers per sketch."""
        return len(self.sketches[0].sums)

    @property
    def is_noisy(self) -> bool:
        """Whether any of them carries noise."""
        return any(sketch.noise for sketch in self.sketches)

    def noise_variances(self) -> Matrix:
        """Return float64 [n_tasks]: the variance of the noise in each number of the sums."""
        return np.array([sketch.noise.get("sums", 0) for sketch in self.sketches], dtype=np.float64)

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
    """Return sources and targets as stacks, checked to be comparable as ``sketch_pair`` does."""
    left, right = sketch_pair(
        sources, targets, FisherSketch, lambda sketch: (len(sketch.sums), sketch.parameters_of_space)
    )
    return EmbeddingStack(tuple(left)), EmbeddingStack(tuple(right))
