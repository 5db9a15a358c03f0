"""Squared Euclidean distances: their noise energy is known, so that it can be subtracted."""

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from federation.distances.base import Matrix
from federation.distances.bilinear import BilinearDistance
from federation.distances.noise import Covariance, NoiseModel
from federation.distances.side import Side
from federation.distances.stack import itself
from federation.sketches import HistogramSketch, Sketch
from federation.sketches.base import Noise


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


class CountNoise(NoiseModel):
    """Every bin carries independent noise, of which the projection onto equal totals takes one direction."""

    array: ClassVar[str] = "counts"

    def covariance(self, sketch: Sketch) -> Covariance:
        """Return Σ = J/m with J = (I − 11ᵀ/B) per feature: the distance is a mean over m features."""
        n_features, n_bins = cast(HistogramSketch, sketch).counts.shape
        return _of_features(n_features, np.ones(n_bins - 1))

    def count_variance(self, sketch: Sketch, noise: Noise) -> float:
        """Return the variance of the mean over features of what their bins sum to."""
        n_features, n_bins = cast(HistogramSketch, sketch).counts.shape
        return float(noise.get(self.array, 0) * n_bins / n_features)


class CumulativeNoise(CountNoise):
    """As in counts, and added up along the bins."""

    def covariance(self, sketch: Sketch) -> Covariance:
        """Return Σ = A J Aᵀ/m with the lower triangular A of ones.

        A J Aᵀ is the covariance of a Brownian bridge at the B − 1 inner edges, whose eigenvalues are
        1 / (4 sin²(πk/2B)).
        """
        n_features, n_bins = cast(HistogramSketch, sketch).counts.shape
        return _of_features(n_features, 1 / (4 * np.sin(np.pi * np.arange(1, n_bins) / (2 * n_bins)) ** 2))


def _of_features(n_features: int, eigenvalues: Matrix) -> Covariance:
    per_feature = eigenvalues / n_features
    squares = n_features * float((per_feature**2).sum())
    return Covariance(float(eigenvalues.sum()), squares, float(per_feature.max()))


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
    noise="what it adds on average is subtracted, which leaves the order of neighbours unbiased",
    noise_model=CountNoise(),
)
