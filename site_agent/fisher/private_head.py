"""A linear classifier fitted to labels by noisy full-batch gradient descent, and what the fit cost.

Every step releases one sum of clipped per-image gradients through the discrete Gaussian, so that T steps at
ρ/T each cost ρ, exactly (Bun & Steinke 2016, Lemma 2.3). DP-SGD (Abadi et al. 2016) draws small batches and
is paid for that by amplification, an argument about Rényi divergences of *subsampled* Gaussians that no
single ρ expresses; on frozen features a full batch is one matrix product, so nothing is drawn.
"""

import os
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from federation.errors import BudgetError
from federation.privacy.accounting import rho_of, variance_for
from federation.privacy.inversion import Randomness
from federation.privacy.noise import discrete_gaussian
from site_agent.fisher.head import Features, LinearHead

UNIT = 2.0**-10
"""Per-image gradients, of length at most √2, are counted in these units and rounded towards zero."""
_L2_SQUARED = round(2 / UNIT**2)
_STRIDE = 2.0  # length of a step on features of norm one
_ROWS = 64  # images whose gradients are held at a time

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PublicScale:
    """Where features lie, from public images.

    Args:
        centre: float64 [n_features].
        norm: Distance from it to which features are clipped.
    """

    centre: Floats
    norm: float

    def standardised(self, features: Features) -> Floats:
        """Return float64 [n_images, n_features] of norm at most one."""
        x = (features.astype(np.float64) - self.centre) / self.norm
        lengths = np.linalg.norm(x, axis=1, keepdims=True)
        return np.asarray(x * ((1 - 1e-12) / np.maximum(lengths, 1.0)))


@dataclass(frozen=True)
class PrivateHead:
    """A classifier and its price.

    Args:
        head: The classifier; anything made of it alone costs nothing more.
        rho: What a release that uses it has to charge on top of its sketches' ρ.
    """

    head: LinearHead
    rho: Fraction


def fit_private_head(
    features: Features,
    labels: npt.NDArray[np.int64],
    counts: Counts,
    scale: PublicScale,
    n_classes: int,
    rho: Fraction,
    *,
    weight: int = 1,
    steps: int = 4,
    randomness: Randomness = os.urandom,
) -> PrivateHead:
    """Return a classifier that is ρ-zCDP for the patients it is fitted to, add or remove one.

    Steps have a fixed length whatever the gradient's, because that of an average would take the number of
    images, which is private. Derivation: docs/privacy-sensitivity.md#a-private-head.

    Args:
        features: float32 [n_images, n_features].
        labels: int64 [n_images], 0 to n_classes − 1.
        counts: int64 [n_images], how often each image counts; those of one patient sum to at most ``weight``.
        scale: From public images.
        n_classes: Number of classes that the task declares, not of those that occur.
        rho: What may be spent.
        weight: Total count of a patient at most.
        steps: Number of steps that share ρ.
        randomness: Source of random bytes, anything but the default is for tests.

    Raises:
        BudgetError: If there is nothing to spend.
    """
    if rho <= 0 or steps < 1:
        raise BudgetError(
            f"a private head of ρ = {rho} in {steps} steps is impossible",
            remedy="give it a positive budget and at least one step, or use a public head",
        )
    x, weights, spent = scale.standardised(features), np.zeros((n_classes, len(scale.centre))), Fraction(0)
    bound = _L2_SQUARED * weight**2
    variance = variance_for(bound, rho / steps)
    for _ in range(steps):
        total = _gradient_sum(x, labels, counts, weights)
        noisy = total + discrete_gaussian(total.shape, variance, randomness)
        weights = weights - noisy * (_STRIDE / max(float(np.linalg.norm(noisy)), 1.0))
        spent += rho_of(bound, variance)
    return PrivateHead(_on_raw_features(weights, scale), spent)


def _gradient_sum(x: Floats, labels: npt.NDArray[np.int64], counts: Counts, weights: Floats) -> Counts:
    """Return int64 [n_classes, n_features]: the sum of (p − e_y) xᵀ, each image in whole units."""
    total = np.zeros(weights.shape, np.int64)
    for start in range(0, len(x), _ROWS):
        part = slice(start, start + _ROWS)
        residuals = _probabilities(x[part], weights)
        residuals[np.arange(len(residuals)), labels[part]] -= 1
        each = np.trunc(residuals[:, :, None] * x[part][:, None] / UNIT).astype(np.int64)
        total += np.einsum("n,ncf->cf", counts[part], each)
    return total


def _probabilities(x: Floats, weights: Floats) -> Floats:
    # One product per image: a matrix product's rounding may depend on the number of rows.
    logits = np.einsum("nf,cf->nc", x, weights)
    logits = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(logits / logits.sum(axis=1, keepdims=True))


def _on_raw_features(weights: Floats, scale: PublicScale) -> LinearHead:
    raw, n_classes = weights / scale.norm, len(weights)
    classes = np.arange(n_classes, dtype=np.int64)
    return LinearHead(raw, -raw @ scale.centre, classes, np.ones(n_classes, np.int64))
