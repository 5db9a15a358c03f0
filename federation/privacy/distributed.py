"""What a sum costs to which every site adds a share of discrete Gaussian noise of its own.

A sum of discrete Gaussians is not quite one, unlike that of continuous ones. How far it is off falls so fast
with the variance of a share that from 16 on 2^-64 of ρ per array pays for it.

Reference:
    Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning with
    Secure Aggregation" (KLS).
"""

import math
from fractions import Fraction

from federation.errors import BudgetError
from federation.privacy.accounting import check_integer, checked_rho, rho_of

SMALLEST_SHARE = 16
"""Least variance of a site's share of the noise."""

LARGEST_SHARE = 2**50
"""Largest variance of a share that is planned; what a thousand sites add fits a privacy statement."""

_LEAST_EXCESS = Fraction(1, 2**64)  # keeps denominators short enough for a privacy statement
_BITS_PER_VARIANCE = 14  # π²/log 2 > 14, hence exp(−π²s) < 2^(−14·s)


def rho_of_sum(l2_squared: int, share_variance: int, honest: int, n_numbers: int) -> Fraction:
    """Return a ρ that a sum costs at most if so many sites really add their shares.

    ρ = Δ₂²/(2·h·s) + τ·d, the last rounded up. Shares that others add besides cost nothing more.
    Proof: docs/privacy-proofs.md#a-sum-of-shares.

    Args:
        l2_squared: Δ₂², the squared L2 sensitivity of the integers that are summed.
        share_variance: s, the variance of the noise that one site adds to each of them, at least 16.
        honest: h, the number of sites whose noise nobody knows.
        n_numbers: d, how many integers there are.

    Raises:
        BudgetError: If one of these is too small or no integer.

    References:
        KLS, proposition 14.
    """
    check_integer("noise share's variance", share_variance, least=SMALLEST_SHARE)
    excess = _excess(honest, n_numbers)
    return rho_of(l2_squared, int(share_variance) * int(honest)) + excess


def share_for(l2_squared: int, rho: Fraction, honest: int, n_numbers: int) -> int:
    """Return the smallest integer variance of a share, at least 16, with which a sum costs at most ρ.

    Args:
        l2_squared: Δ₂², the squared L2 sensitivity of the integers that are summed.
        rho: What the sum may cost, positive.
        honest: How many sites really add such a share.
        n_numbers: How many integers there are.

    Raises:
        BudgetError: If one of these is too small or no number.
    """
    check_integer("squared sensitivity", l2_squared, least=0)
    left = checked_rho(rho) - _excess(honest, n_numbers)
    if left <= 0:
        raise BudgetError(
            f"no shares of noise are enough for a sum at ρ = {float(rho):g}", remedy="give the sum a budget"
        )
    return max(SMALLEST_SHARE, math.ceil(int(l2_squared) / (2 * int(honest) * left)))


def _excess(honest: int, n_numbers: int) -> Fraction:
    """Return at least τ·d for all shares of variance 16 and more, a fraction with a short denominator.

    τ = 10·Σ exp(−2π²s·k/(k+1)) over k = 1 to h − 1, of which every term is at most exp(−π²s).
    """
    check_integer("number of honest sites", honest, least=1)
    check_integer("number of integers", n_numbers, least=1)
    if honest == 1:
        return Fraction(0)
    bound = Fraction(10 * (int(honest) - 1) * int(n_numbers), 2 ** (_BITS_PER_VARIANCE * SMALLEST_SHARE))
    return max(bound, _LEAST_EXCESS)
