"""How long a budget lasts if releases go on as they did."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from site_agent.ledger.budget import Budget, Charge
from site_agent.ledger.spending import Outlay, fits, free_at, spent

DAY = 86_400.0
_USUAL_INTERVAL = 30 * DAY
_SHORTEST_PACE = DAY  # releases that follow faster are several tasks of one day, no pace
MOST_RELEASES = 1_000
"""Where counting stops."""


@dataclass(frozen=True)
class Forecast:
    """What a budget still allows.

    Args:
        budget: The budget.
        spent: ρ that is spent.
        release_rho: ρ of the release that the forecast is about.
        possible_from: When the next such release fits, Unix time in seconds; None: never.
        interval: Seconds between two releases.
        measured: Whether the interval is that of the releases so far, or the usual one.
        n_more: How many more fit at that interval, ``MOST_RELEASES`` or more; None: without end.
        lasts_until: When the last of them has been made; None: never ends, or there is none.
    """

    budget: Budget
    spent: Fraction
    release_rho: Fraction
    possible_from: float | None
    interval: float
    measured: bool
    n_more: int | None
    lasts_until: float | None

    @property
    def remaining(self) -> Fraction:
        """The ρ that is left."""
        return max(Fraction(0), self.budget.limit - self.spent)

    def to_json(self) -> dict[str, Any]:
        """Return the forecast as JSON can hold it."""
        amounts = {"limit": self.budget.limit, "spent": self.spent, "remaining": self.remaining}
        amounts["release"] = self.release_rho
        return {
            "scope": self.budget.scope.value,
            "name": self.budget.name,
            "delta": self.budget.delta,
            "period_s": self.budget.period,
            **{name: {"rho": str(rho), "eps": self.budget.eps(rho)} for name, rho in amounts.items()},
            **{name: asdict(self)[name] for name in _PLAIN},
        }


_PLAIN = ("possible_from", "interval", "measured", "n_more", "lasts_until")


def forecast(outlays: Sequence[Outlay], budget: Budget, release: Charge, now: float) -> Forecast:
    """Return what a budget still allows at the pace so far.

    Args:
        outlays: Everything that was spent.
        budget: The budget.
        release: What each further release spends; where it has a cohort, each is about a new
            one of its series.
        now: Unix time in seconds.
    """
    own = [outlay.at for outlay in outlays if outlay.counts(budget, now)]
    pace = (own[-1] - own[0]) / (len(own) - 1) if len(own) > 1 else 0.0
    measured = pace >= _SHORTEST_PACE
    interval = pace if measured else _USUAL_INTERVAL
    first = _numbered(release, 0)
    n_more = _count(outlays, budget, release, now, interval)
    return Forecast(
        budget,
        spent(outlays, budget, now),
        release.rho,
        now if fits(outlays, budget, first, now) else free_at(outlays, budget, first, now),
        interval,
        measured,
        n_more,
        now + (n_more - 1) * interval if n_more else None,
    )


def _count(
    outlays: Sequence[Outlay], budget: Budget, release: Charge, now: float, interval: float
) -> int | None:
    """Release until the budget refuses; after a whole period without refusal it never will."""
    made = [outlay for outlay in outlays if outlay.counts(budget, now)]
    n_settled = _n_settled(budget, release, interval)
    for n in range(min(n_settled or MOST_RELEASES, MOST_RELEASES)):
        following, at = _numbered(release, n), now + n * interval
        if not fits(made, budget, following, at):
            return n
        made.append(Outlay.of(following, at))
    return None if n_settled is not None and n_settled <= MOST_RELEASES else MOST_RELEASES


def _n_settled(budget: Budget, release: Charge, interval: float) -> int | None:
    """Return after how many releases one more no longer changes what is spent; None: never."""
    if release.cohort is not None:
        return 1
    return None if budget.period is None else int(budget.period // interval) + 2


def _numbered(release: Charge, n: int) -> Charge:
    if release.cohort is None:
        return release
    # No cohort in a ledger has a name that starts with a space.
    return replace(release, cohort=f"{release.cohort.rpartition('/')[0]}/ {n}")
