"""How much of a budget is spent: sequential composition, but parallel over disjoint cohorts.

A patient of one cohort is in none of the other cohorts of its series, so of those only the dearest counts
(parallel composition). Cohorts of different tasks, or of different series of a task, may share patients and
add up (sequential composition of zCDP, Bun and Steinke 2016, lemma 1.7).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from site_agent.ledger.budget import Budget, Charge, Scope


@dataclass(frozen=True)
class Outlay:
    """What was spent at one moment.

    Args:
        at: Unix time in seconds.
        population: Whose budget it counts against, if any population's.
        task: Whose budget it counts against, if any task's.
        cohort: The cohort of the task, ``series/name``, disjoint from all others of its series; None: all of
            its patients.
        rho: The amount.
    """

    at: float
    population: str | None
    task: str | None
    cohort: str | None
    rho: Fraction

    @classmethod
    def of(cls, charge: Charge, at: float) -> "Outlay":
        """Return what a charge spends at a moment."""
        return cls(at, charge.population, charge.task, charge.cohort, charge.rho)

    @property
    def series(self) -> tuple[str | None, str]:
        """Within which cohorts are disjoint."""
        return self.task, (self.cohort or "").rpartition("/")[0]

    def counts(self, budget: Budget, now: float) -> bool:
        """Return whether it still counts against a budget."""
        name = self.task if budget.scope is Scope.TASK else self.population
        return name == budget.name and (budget.period is None or self.at + budget.period > now)


def spent(outlays: Iterable[Outlay], budget: Budget, now: float) -> Fraction:
    """Return the ρ that any one patient may have lost within the budget's window.

    Args:
        outlays: Everything that was spent.
        budget: The budget.
        now: End of the rolling window, Unix time in seconds.
    """
    whole = _Sum()
    series: defaultdict[tuple[str | None, str], defaultdict[str, _Sum]] = defaultdict(
        lambda: defaultdict(_Sum)
    )
    for outlay in outlays:
        if outlay.counts(budget, now):
            (whole if outlay.cohort is None else series[outlay.series][outlay.cohort]).add(outlay.rho)
    dearest = (max(amounts.total() for amounts in cohorts.values()) for cohorts in series.values())
    return whole.total() + sum(dearest, Fraction(0))


def fits(outlays: Sequence[Outlay], budget: Budget, charge: Charge, at: float) -> bool:
    """Return whether the budget is kept if a charge is added at a moment."""
    return spent((*outlays, Outlay.of(charge, at)), budget, at) <= budget.limit


def free_at(outlays: Sequence[Outlay], budget: Budget, charge: Charge, now: float) -> float | None:
    """Return when enough will have left the window for a charge; None if that never happens.

    Args:
        outlays: Everything that was spent.
        budget: The budget.
        charge: What would be spent.
        now: Unix time in seconds.
    """
    if budget.period is None or charge.rho > budget.limit:
        return None
    times = sorted({outlay.at + budget.period for outlay in outlays if outlay.counts(budget, now)})
    return next((at for at in times if fits(outlays, budget, charge, at)), None)


class _Sum:
    """An exact sum; amounts share few denominators, and adding integers is much cheaper than fractions."""

    def __init__(self) -> None:
        self._numerators: defaultdict[int, int] = defaultdict(int)

    def add(self, amount: Fraction) -> None:
        self._numerators[amount.denominator] += amount.numerator

    def total(self) -> Fraction:
        parts = (Fraction(numerator, denominator) for denominator, numerator in self._numerators.items())
        return sum(parts, Fraction(0))
