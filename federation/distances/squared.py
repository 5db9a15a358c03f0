"""Squared Euclidean distances: their noise energy is known, so that it can be subtracted."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from federation.distances.base import Matrix
from federation.distances.bilinear import BilinearDistance
from federation.distances.side import Side
from federation.distances.stack import itself


def energy(x: Matrix) -> Matrix:
    """Σ x²."""
    return np.asarray(np.einsum("tfb,tfb->tf", x, x))


@dataclass(frozen=True, kw_only=True)
class SquaredDistance(BilinearDistance):
    """‖x_s − x_t‖² = ‖x_s‖² + ‖x_t‖² − 2⟨x_s, x_t⟩ of an embedding x of frequencies, mean over features.

    The mean over features, rather than the sum, keeps the scale of spaces with different numbers of
    features alike; noise energy per feature is subtracted from it in the same units.
    """

    factor: ClassVar[float] = 2.0


@dataclass(frozen=True, kw_only=True)
class SquaredL2(SquaredDistance):
    """Σ_bins (h_s − h_t)²."""

    source: ClassVar[Side] = Side(itself, energy)
    target: ClassVar[Side] = source


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
