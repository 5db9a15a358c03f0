"""The mechanism of private release: discrete Gaussian noise on every array of every sketch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from federation.errors import BudgetError, PolicyError
from federation.privacy.accounting import rho_of, variance_for
from federation.privacy.inversion import Randomness
from federation.privacy.noise import checked_variance, discrete_gaussian
from federation.sketches import Sketch, decode_sketch, encode_arrays

NOTHING: Mapping[str, Fraction] = MappingProxyType({})
"""Nothing was spent before."""


@dataclass(frozen=True)
class Noised:
    """Sketches with noise, and what they cost.

    Args:
        sketches: Kind → noisy sketch.
        noise: ``kind.array`` → variance of the noise in each of its numbers.
        rho: What the patients pay, at most what was asked for.
    """

    sketches: Mapping[str, Sketch]
    noise: Mapping[str, int]
    rho: Fraction


def add_noise(
    sketches: Mapping[str, Sketch],
    rho: Fraction,
    weight: int = 1,
    randomness: Randomness = os.urandom,
    *,
    spent: Mapping[str, Fraction] = NOTHING,
) -> Noised:
    """Return sketches that are ρ-zCDP for the patients behind them, unit one patient, add or remove.

    Kinds share ρ evenly, the arrays of a kind as it says. Every array gets independent noise, so that costs
    add up (Bun & Steinke 2016, Lemma 2.3). Derivation: docs/privacy-proofs.md.

    Args:
        sketches: Kind → exact sketch, bound to its space.
        rho: What may be spent.
        weight: How often the images of one patient are counted together at most.
        randomness: Source of random bytes, anything but the default is for tests.
        spent: Kind → what was spent of its part before, on what its sketch is made with.

    Raises:
        BudgetError: If there is nothing to spend, or nothing is left of a kind's part.
        PolicyError: If there is no sketch, or one has no bounded sensitivity.
    """
    noise, total = planned_noise(sketches, rho, weight, spent=spent)
    noisy = {
        name: array + discrete_gaussian(array.shape, noise[name], randomness)
        for name, array in encode_arrays(sketches).items()
    }
    return Noised({kind: decode_sketch(kind, noisy, noise) for kind in sketches}, noise, total)


def planned_noise(
    sketches: Mapping[str, Sketch],
    rho: Fraction,
    weight: int,
    *,
    spent: Mapping[str, Fraction] = NOTHING,
) -> tuple[dict[str, int], Fraction]:
    """Return the noise that a release would carry and what it would cost, which no image has a part in.

    Args:
        sketches: Kind → sketch of any images or of none, bound to its space.
        rho: What may be spent.
        weight: How often the images of one patient are counted together at most.
        spent: Kind → what was spent of its part before, on what its sketch is made with.

    Returns:
        ``kind.array`` → variance of the noise in each of its numbers; ρ.

    Raises:
        BudgetError: If there is nothing to spend, nothing is left of a kind's part, or no such noise can be
            drawn.
        PolicyError: If there is no sketch, or one has no bounded sensitivity.
    """
    if not sketches:
        raise PolicyError("a private release of no sketch is empty", remedy="name a kind of sketch")
    if rho <= 0:
        raise BudgetError(f"a private release of ρ = {rho} is impossible", remedy="give it a positive budget")
    parts = {kind: _left(kind, part_of_kind(rho, len(sketches)), spent) for kind in sketches}
    variances = {
        f"{kind}.{array}": (checked_variance(variance_for(bound.l2_squared, part)), bound.l2_squared)
        for kind, sketch in sorted(sketches.items())
        for array, bound in sketch.sensitivity(weight).items()
        for part in [parts[kind] * sketch.shares[array]]
    }
    costs = (rho_of(l2_squared, variance) for variance, l2_squared in variances.values())
    total = sum(costs, sum(spent.values(), Fraction(0)))
    return {name: variance for name, (variance, _) in variances.items()}, total


def part_of_kind(rho: Fraction, n_kinds: int) -> Fraction:
    """Return what every kind of sketch may spend of a release.

    Args:
        rho: What the release may spend.
        n_kinds: How many kinds it carries.
    """
    return rho / n_kinds


def _left(kind: str, part: Fraction, spent: Mapping[str, Fraction]) -> Fraction:
    left = part - spent.get(kind, Fraction(0))
    if left <= 0:
        raise BudgetError(
            f"{kind} has ρ = {part} to spend, and ρ = {spent[kind]} was spent before there was a sketch",
            remedy="leave a share of it to the sketch",
        )
    return left
