"""What a run of training by noisy sums of gradients costs its patients, exactly.

Every epoch cuts the patients into a public number of batches, by a hash of each patient alone, and releases
one noisy sum of clipped gradients per batch. A patient is in one of these sums, so an epoch costs what one
sum does, however many there are, and epochs add up. Proof: docs/privacy-proofs.md#a-trained-model.

Poisson-sampled batches (Abadi et al. 2016, as in Opacus) claim less by amplification, an argument about Rényi
divergences of *subsampled* Gaussians that no single ρ expresses and that stands or falls with the sampling
being secret. A ledger in ρ takes the partition, whose claim is exact and whose seed may be public.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from federation.errors import BudgetError
from federation.privacy.accounting import check_integer, checked_rho, eps_of, rho_of
from federation.transfer.result import ModelPrivacy

_FINEST_BITS = 20
_VARIANCE_BITS = 60  # of the largest noise that can be drawn


@dataclass(frozen=True)
class GradientNoise:
    """The noise on a sum of gradients that are counted in whole units, so that it can be drawn exactly.

    Args:
        units: How many units the clip norm is; a power of two.
        variance: σ² of the discrete Gaussian on every number of the sum, in units squared.
    """

    units: int
    variance: int

    @property
    def rho(self) -> Fraction:
        """What one noisy sum costs a patient whose gradient is at most ``units`` long."""
        return rho_of(self.units**2, self.variance)


def training_rho(noise_multiplier: float, epochs: int) -> Fraction:
    """Return ρ = E/2σ² of E epochs whose noisy sums have σ times the clip norm as standard deviation.

    Proof: docs/privacy-proofs.md#a-trained-model.

    Args:
        noise_multiplier: σ, exactly the number that the float is.
        epochs: E, how often every patient is used.

    Raises:
        BudgetError: If σ is not positive and finite, or E no positive integer.

    References:
        Bun & Steinke 2016, lemma 2.3 and proposition 1.6; McSherry 2009, theorem 4 (parallel composition).
    """
    check_integer("number of epochs", epochs, least=1)
    return epochs / (2 * _checked_multiplier(noise_multiplier) ** 2)


def noise_multiplier_for(rho: Fraction, epochs: int) -> float:
    """Return the smallest float σ with which E epochs cost at most ρ.

    Args:
        rho: What the model may cost, positive.
        epochs: E, how often every patient is used.

    Raises:
        BudgetError: If ρ is not positive, or so small or large that no float is near σ; or E no positive
            integer.
    """
    check_integer("number of epochs", epochs, least=1)
    rho = checked_rho(rho)
    if rho == 0:
        raise BudgetError("no noise is enough for a model at ρ = 0", remedy="give the model a budget")
    try:
        sigma = math.sqrt(epochs / (2 * rho))
    except OverflowError as error:
        raise BudgetError(f"ρ = {rho} is too small to train at", remedy="give the model a budget") from error
    while training_rho(sigma, epochs) > rho:
        sigma = math.nextafter(sigma, math.inf)
    while training_rho(below := math.nextafter(sigma, 0.0), epochs) <= rho:
        sigma = below
    return sigma


def gradient_noise(noise_multiplier: float) -> GradientNoise:
    """Return the exact noise that costs at most 1/2σ² per sum.

    Units are a millionth of the clip norm, coarser only where noise is so strong that they would not matter:
    cutting a gradient to whole units then changes it by far less than the noise does.

    Args:
        noise_multiplier: σ, standard deviation of the noise over the clip norm.

    Raises:
        BudgetError: If σ is not positive and finite, or beyond what can be drawn.
    """
    sigma = _checked_multiplier(noise_multiplier)
    magnitude = max(0, math.ceil(math.log2(sigma)) + 1)
    bits = min(_FINEST_BITS, _VARIANCE_BITS // 2 - magnitude)
    if bits < 1:
        raise BudgetError(
            f"a noise multiplier of {noise_multiplier:g} is beyond what can be drawn",
            remedy="train fewer epochs with less noise; nothing can be learnt at this one",
        )
    return GradientNoise(2**bits, math.ceil((sigma * 2**bits) ** 2))


def model_privacy(rho: Fraction, delta: float, unit: Literal["patient", "image"]) -> ModelPrivacy:
    """Return what a model that cost ρ promises, with ε rounded against the site.

    Args:
        rho: What its training cost.
        delta: δ of the task's budget.
        unit: Whose presence the noise hides.

    Raises:
        BudgetError: If ρ is not positive or not finite, or δ not between 0 and 1.
    """
    if checked_rho(rho) == 0:
        raise BudgetError("a model of ρ = 0 was not trained", remedy="state what its training cost")
    return ModelPrivacy(rho=str(rho), eps=eps_of(rho, delta), delta=delta, unit=unit)


def _checked_multiplier(noise_multiplier: float) -> Fraction:
    if not 0 < noise_multiplier < math.inf:
        raise BudgetError(
            f"a noise multiplier of {noise_multiplier} is not positive and finite",
            remedy="training without noise is not private; `noise_multiplier_for` finds what a budget needs",
        )
    return Fraction(noise_multiplier)
