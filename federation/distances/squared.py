"""Squared Euclidean distances: their noise energy is known, so that it can be subtracted."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from federation.distances.base import Matrix
from federation.distances.histogram import BilinearDistance


@dataclass(frozen=True, kw_only=True)
class SquaredDistance(BilinearDistance):
    """‖x_s − x_t‖² = ‖x_s‖² + ‖x_t‖² − 2⟨x_s, x_t⟩ of an embedding x of frequencies, mean over features.

    The mean over features, rather than the sum, keeps the scale of spaces with different numbers of
    features alike; noise energy per feature is subtracted from it in the same units.
    """

    @abstractmethod
    def _embed(self, h: Matrix) -> Matrix:
        """Return x float64 [tasks, features, n_bins]."""

    def _source_side(self, h: Matrix) -> tuple[Matrix, Matrix]:
        x = self._embed(h)
        return x, _energy(x)

    def _target_side(self, h: Matrix) -> tuple[Matrix, Matrix]:
        x = self._embed(h)
        return 2 * x, _energy(x)


@dataclass(frozen=True, kw_only=True)
class SquaredL2(SquaredDistance):
    """Σ_bins (h_s − h_t)²."""

    def _embed(self, h: Matrix) -> Matrix:
        return h


def _energy(x: Matrix) -> Matrix:
    return np.asarray(np.einsum("tfb,tfb->tf", x, x))


L2 = SquaredL2(
    name="l2",
    formula="Σ_bins (h_s − h_t)²; mean over features, no square root",
    origin="squared Euclidean distance of frequencies",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    ordered_bins=False,
    noise="grows by a known amount per task; once that is subtracted the order of neighbours is unbiased",
)
