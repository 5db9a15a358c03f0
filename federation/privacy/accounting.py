"""What releases with Gaussian noise cost in ρ (zero-concentrated privacy), and what ρ means as (ε, δ).

ρ is an exact fraction wherever it is added, compared or kept; ε and δ are for people and are always rounded
against the releaser. The costs of releases add up (docs/privacy-proofs.md#a-fixed-budget), those of disjoint
admission cohorts do not (docs/privacy-proofs.md#admission-cohorts).

References:
    Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy" (CKS).
    Bun, Steinke 2016, "Concentrated Differential Privacy".
"""

import math
from collections.abc import Callable
from fractions import Fraction
from numbers import Integral

from federation.errors import BudgetError

LARGEST_RHO = 10**18
_SMALLEST_COUNTED_RHO = 1e-100  # below, as much as this
_SMALLEST_EPS, _LARGEST_EPS = 1e-9, 1e9
_SLACK = 2.0**-44  # of a sum of terms: far above the error of evaluating them in double precision
_STEPS = 10**8  # of a budget per power of ten: nine significant digits
_HALVINGS = 2100  # more than it takes from the largest to the smallest double


def rho_of(l2_squared: int, variance: int) -> Fraction:
    """Return ρ = Δ₂²/2σ² of a release with discrete Gaussian noise.

    Proof: docs/privacy-proofs.md#what-a-release-costs.

    Args:
        l2_squared: Δ₂², the squared L2 sensitivity of the integers released.
        variance: σ² of the noise added to each of them.

    Raises:
        BudgetError: If the sensitivity is negative, the variance not positive, or either no integer.

    References:
        CKS, theorem 4, for every coordinate.
    """
    check_integer("squared sensitivity", l2_squared, least=0)
    check_integer("noise variance", variance, least=1)
    return Fraction(int(l2_squared), 2 * int(variance))


def variance_for(l2_squared: int, rho: Fraction) -> int:
    """Return the smallest integer σ² with which a release costs at most ρ.

    Args:
        l2_squared: Δ₂², the squared L2 sensitivity of the integers released.
        rho: What the release may cost, positive.

    Raises:
        BudgetError: If the sensitivity is no such integer or ρ is not positive.
    """
    check_integer("squared sensitivity", l2_squared, least=0)
    rho = checked_rho(rho)
    if rho == 0:
        raise BudgetError("no noise is enough for a release at ρ = 0", remedy="give the release a budget")
    return max(1, math.ceil(int(l2_squared) / (2 * rho)))


def eps_of(rho: Fraction, delta: float) -> float:
    """Return the smallest ε for which ρ-zCDP is known to imply (ε, δ) differential privacy, rounded up.

    ε = inf over a > 1 of aρ + log(1 − 1/a) − (log δ + log a)/(a − 1), the formula of ``delta_of`` solved for
    ε; the best a solves ρ(a − 1)² + log a = log 1/δ. Every a gives a valid ε, so an inexact one only costs.
    Proof: docs/privacy-proofs.md#what-a-budget-means.

    Args:
        rho: The sum of what was released.
        delta: δ, between 0 and 1.

    Raises:
        BudgetError: If ρ is negative or not finite, or δ not between 0 and 1.

    References:
        CKS, proposition 12 of version 4.
    """
    r, log_delta = _counted(rho), math.log(_checked_delta(delta))
    if r == 0:
        return 0.0
    x = _root(lambda x: r * x * x + math.log1p(x) + log_delta, math.sqrt(-log_delta / r))  # a − 1
    return max(0.0, _rounded_up([r, x * r, -math.log1p(1 / x), -log_delta / x, -math.log1p(x) / x]))


def delta_of(rho: Fraction, eps: float) -> float:
    """Return the smallest δ for which ρ-zCDP is known to imply (ε, δ) differential privacy, rounded up.

    δ = inf over a > 1 of exp((a − 1)(aρ − ε))/(a − 1) · (1 − 1/a)^a. Its logarithm is convex in a, with the
    derivative (2a − 1)ρ − ε + log(1 − 1/a). Proof: docs/privacy-proofs.md#what-a-budget-means.

    Args:
        rho: The sum of what was released.
        eps: ε, from 10^-9 to 10^9.

    Raises:
        BudgetError: If ρ is negative or not finite, or ε out of range.

    References:
        CKS, proposition 12 of version 4.
    """
    r, eps = _counted(rho), _checked_eps(eps)
    if r == 0:
        return 0.0
    highest = (eps + math.sqrt(eps * eps + 8 * r)) / (4 * r)
    x = _root(lambda x: (2 * x + 1) * r - eps - math.log1p(1 / x), highest)  # a − 1
    log_delta = _rounded_up([x * r, x * x * r, -x * eps, -x * math.log1p(1 / x), -math.log1p(x)])
    return min(1.0, math.nextafter(math.exp(min(0.0, log_delta)), math.inf))


def rho_for(eps: float, delta: float) -> Fraction:
    """Return the largest ρ of nine significant decimal digits whose ``eps_of`` is at most ε.

    Args:
        eps: ε, from 10^-9 to 10^9.
        delta: δ, between 0 and 1.

    Raises:
        BudgetError: If ε is out of range, or δ not between 0 and 1.
    """
    eps, delta = _checked_eps(eps), _checked_delta(delta)
    power = 0
    while eps_of(Fraction(10) ** power, delta) <= eps:
        power += 1
    while eps_of(Fraction(10) ** power, delta) > eps:
        power -= 1
    unit = Fraction(10) ** power / _STEPS
    enough, too_much = _STEPS, 10 * _STEPS
    while too_much - enough > 1:
        middle = (enough + too_much) // 2
        enough, too_much = (middle, too_much) if eps_of(middle * unit, delta) <= eps else (enough, middle)
    return enough * unit


def eps_by_pld(rho: Fraction, delta: float) -> float:
    """Return ε at δ of one continuous Gaussian release that costs ρ, from its privacy loss distribution.

    A cross-check from an independent implementation: a Gaussian's own curve is a little below the one that
    holds for every mechanism of the same ρ. Budgets are kept by ``eps_of``. Infinite where δ is far below
    1e-15, the tail that is cut off.

    Args:
        rho: The sum of what was released.
        delta: δ, between 0 and 1.

    Raises:
        BudgetError: If ρ is negative or not finite, or δ not between 0 and 1.

    References:
        Koskela, Jälkö, Honkela 2020; Doroshenko et al. 2022 ("Connect the Dots").
    """
    r, delta = _counted(rho), _checked_delta(delta)
    if r == 0:
        return 0.0
    from dp_accounting import GaussianDpEvent  # slow to import, and seldom needed
    from dp_accounting.pld import PLDAccountant

    spread = math.sqrt(2 * r)  # standard deviation of the privacy loss
    accountant = PLDAccountant(value_discretization_interval=max(spread * 1e-4, r * 1e-6))
    return float(accountant.compose(GaussianDpEvent(noise_multiplier=1 / spread)).get_epsilon(delta))


def _root(rising: Callable[[float], float], highest: float) -> float:
    """Return about where an increasing function of positive numbers is zero, by bisection.

    Args:
        rising: The function, negative near 0.
        highest: Where it is not negative any more.
    """
    low, high = 0.0, highest
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return high


def _rounded_up(terms: list[float]) -> float:
    """Return a sum, plus more than the evaluation of its terms can have lost."""
    return math.fsum(terms) + _SLACK * math.fsum(map(abs, terms))


def check_integer(name: str, value: int, least: int) -> None:
    """Raise unless a value is an integer of at least that size.

    Raises:
        BudgetError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise BudgetError(f"a {name} of {value!r} is no integer from {least}", remedy="count in whole units")


def checked_rho(rho: Fraction) -> Fraction:
    """Return a ρ from 0 to 10^18 as an exact fraction.

    Raises:
        BudgetError: If it is none.
    """
    if not 0 <= rho <= LARGEST_RHO:
        raise BudgetError(
            f"ρ = {rho} is no number from 0 to 10^18", remedy='give ρ as a fraction, for example "1/20"'
        )
    return Fraction(rho)


def _counted(rho: Fraction) -> float:
    """Return ρ for the formulas, which would underflow where it is absurdly small."""
    return max(float(rho), _SMALLEST_COUNTED_RHO) if checked_rho(rho) else 0.0


def _checked_eps(eps: float) -> float:
    if not _SMALLEST_EPS <= eps <= _LARGEST_EPS:
        raise BudgetError(
            f"ε = {eps} is not between 10^-9 and 10^9", remedy="give ε above 0: 1 protects well, 8 hardly"
        )
    return float(eps)


def _checked_delta(delta: float) -> float:
    if not 0 < delta < 1:
        raise BudgetError(
            f"δ = {delta} is not between 0 and 1", remedy="give δ well below one over the number of patients"
        )
    return float(delta)
