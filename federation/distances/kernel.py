"""Maximum mean discrepancy of two tasks from their mean embeddings: all pairs by one matrix product."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from federation.distances.base import Comparable, Distance, Matrix
from federation.distances.sketched import sketch_pair
from federation.sketches.mean_embedding import MeanEmbeddingSketch


@dataclass(frozen=True, kw_only=True)
class MeanDiscrepancy(Distance):
    """Squared maximum mean discrepancy (Gretton et al., JMLR 13, 2012), with the kernel of the space.

    MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y), where every expectation is an inner product of mean
    embeddings m = Σ φ(x)/n. The biased estimate ‖m_s − m_t‖² pairs every image with itself as well, and
    k(x, x) = 1 then adds about 1/n per task: small tasks look far from everything. The unbiased estimate
    leaves these pairs out, (n‖m‖² − 1)/(n − 1), and is right on average; it is negative where the estimate
    of a small distance happens to fall below zero. One image has no pair: its term is then ‖m‖².

    Args:
        unbiased: Whether pairs of an image with itself are left out.
    """

    unbiased: bool
    needs: str = MeanEmbeddingSketch.kind

    def matrix(self, sources: Sequence[Comparable], targets: Sequence[Comparable]) -> Matrix:
        """Return float64 [n_sources, n_targets]: the squared discrepancy of every source and target."""
        if not sources or not targets:
            return np.zeros((len(sources), len(targets)))
        ours, theirs = sketch_pair(sources, targets, MeanEmbeddingSketch, _parameters)
        a, b = (np.array([sketch.mean() for sketch in side]) for side in (ours, theirs))
        values = a @ (-2 * b.T)
        values += self._within(a, ours)[:, None]
        values += self._within(b, theirs)
        return np.maximum(values, 0.0, out=values) if self.non_negative else np.asarray(values)

    def _within(self, means: Matrix, sketches: Sequence[MeanEmbeddingSketch]) -> Matrix:
        """Return float64 [tasks]: the average kernel of two images of the same task."""
        energy = np.einsum("tr,tr->t", means, means)
        n = np.array([sketch.n for sketch in sketches], dtype=np.float64)
        if not self.unbiased:
            return np.asarray(energy)
        return np.asarray(np.where(n > 1, (n * energy - 1) / np.maximum(n - 1, 1), energy))


def _parameters(sketch: MeanEmbeddingSketch) -> tuple[object, int]:
    return sketch.random_features, sketch.sums.size


_GRETTON = "Gretton et al., JMLR 13 (2012); random features of Rahimi & Recht 2007"

MMD = MeanDiscrepancy(
    name="mmd",
    formula="‖m_s − m_t‖², m = mean of random Fourier features; squared, pairs x = x′ included",
    origin=_GRETTON,
    symmetric=True,
    zero_self=True,
    non_negative=True,
    noise="grows by a known amount per task; once that is subtracted the order of neighbours is unbiased",
    unbiased=False,
)
MMD_UNBIASED = MeanDiscrepancy(
    name="mmd-unbiased",
    formula="(n_s‖m_s‖² − 1)/(n_s − 1) + (n_t‖m_t‖² − 1)/(n_t − 1) − 2⟨m_s, m_t⟩; squared, can be negative",
    origin=_GRETTON + "; estimate MMD²_u",
    symmetric=True,
    zero_self=False,
    non_negative=False,
    noise="grows by a known amount per task; once that is subtracted the order of neighbours is unbiased",
    unbiased=True,
)
