"""A linear classifier fitted to labels by noisy full-batch gradient descent, and what the fit cost.

Every step releases one sum of clipped per-image gradients through the discrete Gaussian, so that T steps at
ρ/T each cost ρ, exactly (Bun & Steinke 2016, Lemma 2.3). DP-SGD (Abadi et al. 2016) draws small batches and
is paid for that by amplification, an argument about Rényi divergences of *subsampled* Gaussians that no
single ρ expresses; on frozen features a full batch is cheap and classifies as well (docs/performance.md).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from federation.errors import BudgetError
from federation.privacy.accounting import rho_of, variance_for
from federation.privacy.inversion import Randomness
from federation.privacy.noise import discrete_gaussian
from federation.sketches.fisher_parameters import FisherParameters
from site_agent.fisher.head import Features, LinearHead

UNIT = 2.0**-10
"""Per-image gradients, of length at most one, are counted in these units and rounded towards zero."""
STEPS = 32
"""Noise averages out over steps, so that many are better than few; from 16 to 64 it hardly matters."""
LENGTH = 16.0
"""Root mean square over classes of the length of their weights, on features of norm one."""
_L2_SQUARED = round(1 / UNIT**2)
_STRIDE = 8.0  # length of a step on features of norm one
_ROWS = 64  # images whose gradients are held at a time
_BELOW_ONE = 1 - 1e-12  # where doubles are scaled down to one, so that rounding does not lead beyond

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Noise = Callable[[Counts], Counts]


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
        return _shortened(x)


@dataclass(frozen=True, eq=False)
class Examples:
    """What a head is fitted to.

    Args:
        features: float32 [n_images, n_features].
        labels: int64 [n_images], 0 to n_classes − 1.
        counts: int64 [n_images], how often each image counts.
        n_classes: Number of classes that the task declares, not of those that occur.
    """

    features: Features
    labels: npt.NDArray[np.int64]
    counts: Counts
    n_classes: int


@dataclass(frozen=True)
class PrivateHead:
    """A classifier and its price.

    Args:
        head: The classifier; anything made of it alone costs nothing more.
        rho: What a release that uses it has to charge on top of its sketches' ρ.
    """

    head: LinearHead
    rho: Fraction


def public_scale(parameters: FisherParameters, n_features: int) -> PublicScale:
    """Return the scale that a space fixes.

    Args:
        parameters: What the space fixes about Fisher sketches; its head is a private one.
        n_features: Length of a feature vector.

    Raises:
        SpaceError: If the space fixes it for another number of features.
    """
    return PublicScale(parameters.centre(n_features), parameters.head_scale)


def fit_private_head(
    examples: Examples,
    scale: PublicScale,
    rho: Fraction,
    *,
    weight: int = 1,
    steps: int = STEPS,
    randomness: Randomness = os.urandom,
) -> PrivateHead:
    """Return a classifier that is ρ-zCDP for the patients it is fitted to, add or remove one.

    Steps have a fixed length whatever the gradient's, because that of an average would take the number of
    images, which is private. Derivation: docs/privacy-sensitivity.md#a-private-head.

    Args:
        examples: All images; the counts of one patient's sum to at most ``weight``.
        scale: From public images.
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
    bound = _L2_SQUARED * weight**2
    variance = variance_for(bound, rho / steps)

    def noisy(total: Counts) -> Counts:
        return total + discrete_gaussian(total.shape, variance, randomness)

    return PrivateHead(_fit(examples, scale, steps, noisy), steps * rho_of(bound, variance))


def fit_exact_head(examples: Examples, scale: PublicScale, *, steps: int = STEPS) -> LinearHead:
    """Return the classifier that a private fit approaches with more and more budget.

    The same steps with the same clipping, so that what is made of either means the same. It protects nobody.

    Args:
        examples: The images.
        scale: From public images.
        steps: Number of steps.
    """
    return _fit(examples, scale, steps, lambda total: total)


def stand_in(scale: PublicScale, directions: Floats) -> LinearHead:
    """Return a classifier that is as long as a fitted one: what public images are clipped under.

    Args:
        scale: From public images.
        directions: float64 [n_classes, n_features].
    """
    return _on_raw_features(directions, scale)


def _fit(examples: Examples, scale: PublicScale, steps: int, noisy: Noise) -> LinearHead:
    x, weights = scale.standardised(examples.features), np.zeros((examples.n_classes, len(scale.centre)))
    for _ in range(steps):
        step = noisy(_gradient_sum(x, examples.labels, examples.counts, weights))
        weights = weights - step * (_STRIDE / max(float(np.linalg.norm(step)), 1.0))
    return _on_raw_features(weights, scale)


def _gradient_sum(x: Floats, labels: npt.NDArray[np.int64], counts: Counts, weights: Floats) -> Counts:
    """Return int64 [n_classes, n_features]: the sum of clipped (p − e_y) xᵀ, each image in whole units."""
    total = np.zeros(weights.shape, np.int64)
    for start in range(0, len(x), _ROWS):
        part = slice(start, start + _ROWS)
        residuals = _probabilities(x[part], weights)
        residuals[np.arange(len(residuals)), labels[part]] -= 1
        clipped = _shortened(residuals) / UNIT
        each = np.trunc(clipped[:, :, None] * x[part][:, None]).astype(np.int64)
        total += np.einsum("n,ncf->cf", counts[part], each)
    return total


def _shortened(rows: Floats) -> Floats:
    """Return rows of length at most one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows * (_BELOW_ONE / np.maximum(lengths, 1.0)))


def _probabilities(x: Floats, weights: Floats) -> Floats:
    # One product per image: a matrix product's rounding may depend on the number of rows.
    logits = np.einsum("nf,cf->nc", x, weights)
    logits = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(logits / logits.sum(axis=1, keepdims=True))


def _on_raw_features(weights: Floats, scale: PublicScale) -> LinearHead:
    """Return the classifier in a public length: noise and the number of classes do not decide its doubt."""
    n_classes = len(weights)
    length = float(np.linalg.norm(weights)) / np.sqrt(n_classes)
    raw = weights * (LENGTH / (max(length, 1e-9) * scale.norm))
    classes = np.arange(n_classes, dtype=np.int64)
    return LinearHead(raw, -raw @ scale.centre, classes, np.ones(n_classes, np.int64))
