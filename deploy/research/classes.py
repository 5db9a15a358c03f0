"""Distances between the classes of labelled tasks, each class as a Gaussian in feature space."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEAST = 2
"""Classes with fewer images have no covariance; like microsoft/otdd they are left out."""


@dataclass(frozen=True, eq=False)
class ClassGaussian:
    """Mean and covariance of a class, the covariance as a factor: Σ = deviationsᵀ deviations.

    Args:
        mean: float64 [n_features].
        deviations: float64 [n_images, n_features]: centred features over √(n − 1).
    """

    mean: Floats
    deviations: Floats

    @classmethod
    def of(cls, features: npt.NDArray[Any]) -> "ClassGaussian":
        """Return the Gaussian of float [n_images, n_features]."""
        x = np.asarray(features, dtype=np.float64)
        return cls(x.mean(axis=0), (x - x.mean(axis=0)) / np.sqrt(len(x) - 1))


def class_gaussians(features: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> tuple[ClassGaussian, ...]:
    """Return the Gaussian of every class that occurs, in order of its label."""
    return tuple(ClassGaussian.of(features[labels == label]) for label in np.unique(labels))


def squared_bures_wasserstein(a: ClassGaussian, b: ClassGaussian) -> float:
    """Return W₂² of two Gaussians: ‖μ_a − μ_b‖² + tr Σ_a + tr Σ_b − 2 tr (Σ_a^½ Σ_b Σ_a^½)^½.

    With Σ_a = AᵀA and Σ_b = BᵀB the last trace is the nuclear norm of A Bᵀ, a matrix of the size of the two
    samples: exact, and no matrix of the size of the features is ever decomposed.
    """
    shift = a.mean - b.mean
    spread = float((a.deviations**2).sum() + (b.deviations**2).sum())
    overlap = float(np.linalg.svd(a.deviations @ b.deviations.T, compute_uv=False).sum())
    return max(0.0, float(shift @ shift) + spread - 2 * overlap)


def class_distances(a: Sequence[ClassGaussian], b: Sequence[ClassGaussian]) -> Floats:
    """Return W₂² of every class of one task to every class of another, float64 [n_a, n_b]."""
    return np.array([[squared_bures_wasserstein(one, other) for other in b] for one in a])
