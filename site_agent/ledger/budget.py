"""What may be spent, and what one release would spend of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any

from federation.errors import BudgetError
from federation.privacy.accounting import eps_of

_EXACT = re.compile(r"[0-9]+(/[1-9][0-9]*)?")


class Scope(StrEnum):
    """Whose releases a budget counts."""

    POPULATION = "population"
    TASK = "task"


@dataclass(frozen=True)
class Budget:
    """A limit on what releases may reveal about one patient.

    Args:
        scope: Whether all tasks of a population draw on it, or one task.
        name: Name of the population or task.
        limit: Most ρ (zCDP) that may be spent within the period.
        delta: The δ at which ρ is shown as ε.
        period: Length of the rolling window in seconds; None: what is spent stays spent.
    """

    scope: Scope
    name: str
    limit: Fraction
    delta: float
    period: float | None = None

    def __post_init__(self) -> None:
        if self.limit <= 0 or (self.period is not None and self.period <= 0):
            raise BudgetError(f"the budget of {self} must be more than zero, and so must its period")

    def __str__(self) -> str:
        return f"{self.scope.value} {self.name}"

    def describe(self, rho: Fraction) -> str:
        """Return an amount in words, as ρ and as ε at the budget's δ."""
        return f"ρ {float(rho):.4g} (ε {self.eps(rho):.4g} at δ {self.delta:g})"

    def eps(self, rho: Fraction) -> float:
        """Return an amount as ε at the budget's δ; nothing spent is ε 0."""
        return eps_of(rho, self.delta) if rho > 0 else 0.0


@dataclass(frozen=True)
class Charge:
    """What one release spends.

    Args:
        release_id: Names the release; it is charged once, however often it is asked for.
        job_id: The job that it answers.
        task: The task that is released.
        population: The patients behind the task.
        cohort: Patients admitted in one stretch of time, ``series/name``, disjoint from every other cohort of
            the series; None: all patients of the task.
        rho: The zCDP cost of the release.
        mechanism: What the noise was, in numbers and words that canonical JSON can hold.
    """

    release_id: str
    job_id: str
    task: str
    population: str
    cohort: str | None
    rho: Fraction
    mechanism: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rho.numerator <= 0:
            raise BudgetError(
                f"a release of task {self.task} would spend ρ {self.rho}, expected more than 0",
                remedy="a private release always spends something; check its noise",
            )

    def concerns(self, budget: Budget) -> bool:
        """Return whether the release draws on a budget."""
        return budget.name == (self.task if budget.scope is Scope.TASK else self.population)

    def to_json(self) -> dict[str, Any]:
        """Return the charge as canonical JSON can hold it; ρ is an exact fraction in text."""
        return {
            "release_id": self.release_id,
            "job_id": self.job_id,
            "task": self.task,
            "population": self.population,
            "cohort": self.cohort,
            "rho": str(self.rho),
            "mechanism": dict(self.mechanism),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Charge":
        """Read what ``to_json`` returned.

        Raises:
            ValueError: If it is no such thing.
        """
        return cls(**{**body, "rho": exact(body["rho"])})


@lru_cache(maxsize=1_024)
def exact(text: str) -> Fraction:
    """Return an amount of ρ as the ledger writes it.

    Raises:
        ValueError: If it is written in any other way.
    """
    # An exponent could make a number that no memory holds.
    if not _EXACT.fullmatch(text):
        raise ValueError("no exact fraction")
    return Fraction(text)
