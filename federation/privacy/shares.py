"""The mechanism of a pooled release: every site's share of the noise in every array, and what it costs."""

from collections.abc import Mapping
from fractions import Fraction

from federation.errors import BudgetError, PolicyError
from federation.privacy.distributed import LARGEST_SHARE, rho_of_sum, share_for
from federation.privacy.mechanism import part_of_kind
from federation.sketches import Sketch, encode_arrays


def planned_shares(sketches: Mapping[str, Sketch], rho: Fraction, weight: int, honest: int) -> dict[str, int]:
    """Return the smallest shares with which a sum costs at most ρ.

    Kinds share ρ evenly, the arrays of a kind as it says, as in ``federation.privacy.mechanism``.

    Args:
        sketches: Kind → sketch of any images or of none, bound to its space.
        rho: What may be spent.
        weight: How often the images of one patient are counted together at most.
        honest: How many sites really add their share.

    Returns:
        ``kind.array`` → variance of the noise that one site adds to each of its numbers.

    Raises:
        BudgetError: If there is nothing to spend, or no such noise can be drawn.
        PolicyError: If there is no sketch, or one has no bounded sensitivity.
    """
    if not sketches:
        raise PolicyError("a pooled release of no sketch is empty", remedy="name a kind of sketch")
    arrays, part = encode_arrays(sketches), part_of_kind(rho, len(sketches))
    shares = {
        f"{kind}.{array}": (bound.l2_squared, part * sketch.shares[array])
        for kind, sketch in sorted(sketches.items())
        for array, bound in sketch.sensitivity(weight).items()
    }
    return {
        name: _drawable(share_for(l2_squared, spent, honest, arrays[name].size))
        for name, (l2_squared, spent) in shares.items()
    }


def cost_of_shares(
    sketches: Mapping[str, Sketch], shares: Mapping[str, int], weight: int, honest: int
) -> Fraction:
    """Return the ρ that a patient pays at most for a sum of sketches with noise in every array.

    Args:
        sketches: Kind → sketch, bound to its space.
        shares: ``kind.array`` → variance of the noise that one site adds to each of its numbers.
        weight: How often the images of one patient are counted together at most.
        honest: How many sites really add their share.

    Raises:
        BudgetError: If a share is smaller than may be.
        PolicyError: If a sketch has no bounded sensitivity.
    """
    arrays = encode_arrays(sketches)
    costs = (
        rho_of_sum(bound.l2_squared, shares[name], honest, arrays[name].size)
        for kind, sketch in sketches.items()
        for array, bound in sketch.sensitivity(weight).items()
        for name in [f"{kind}.{array}"]
    )
    return sum(costs, Fraction(0))


def _drawable(share: int) -> int:
    if share > LARGEST_SHARE:
        raise BudgetError(
            f"a share of noise of variance {share} is beyond 2^{LARGEST_SHARE.bit_length() - 1}",
            remedy="release in a coarser unit, which shrinks the sensitivity, or spend more on this release",
        )
    return share
