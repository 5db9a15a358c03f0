"""What a person wants to see of a ledger: budgets with their forecasts, and the entries."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from federation.errors import StoreError
from federation.identity import Identity
from site_agent.config import SiteConfig
from site_agent.ledger.budget import Budget, Charge, Scope
from site_agent.ledger.chain import Chain, read_chain
from site_agent.ledger.entry import Entry
from site_agent.ledger.forecast import DAY, MOST_RELEASES, Forecast, forecast
from site_agent.ledger.moments import day, moment
from site_agent.ledger.spending import Outlay
from site_agent.ledger.storage import LedgerFiles
from site_agent.policy import Policy, TaskPolicy
from site_agent.state import SiteState


@dataclass(frozen=True)
class Overview:
    """A ledger as people read it.

    Args:
        site: Name of the site.
        now: When it was read, Unix time in seconds.
        forecasts: One per budget of the policy.
        entries: All entries, oldest first.
    """

    site: str
    now: float
    forecasts: tuple[Forecast, ...]
    entries: tuple[Entry, ...]

    @classmethod
    def read(cls, site_file: Path, now: float) -> "Overview":
        """Read a site's ledger and policy; nothing is changed.

        Raises:
            ConfigError: If site file or policy is wrong.
            LedgerError: If the ledger is missing or damaged.
            PolicyError: If there is no policy.
            StoreError: If the site has no signing key yet.
        """
        config, identity = open_site(site_file)
        policy = Policy.read(config.policy_path)
        files = LedgerFiles(config.state)
        with files.locked():
            chain = read_chain(files, identity.public_key)
        known = (_forecast(chain, policy, budget, now) for budget in policy.budgets())
        return cls(config.name, now, tuple(f for f in known if f is not None), chain.entries)

    def to_json(self) -> dict[str, Any]:
        """Return the overview as JSON can hold it."""
        return {
            "site": self.site,
            "at": self.now,
            "budgets": [{**f.to_json(), "forecast": in_words(f)} for f in self.forecasts],
            "entries": [{**json.loads(entry.line), "hash": entry.hash} for entry in self.entries],
        }

    def rendered(self) -> Iterator[RenderableType]:
        """Return the tables of budgets and entries."""
        yield _budget_table(self.forecasts, self.now)
        if not self.forecasts:
            yield "the policy names no budget: nothing may leave with noise"
        yield _entry_table(self.entries) if self.entries else "no ledger was begun: nothing was spent"


def open_site(site_file: Path) -> tuple[SiteConfig, Identity]:
    """Return a site's configuration and its identity, which must exist.

    Raises:
        ConfigError: If the site file is wrong.
        StoreError: If there is no signing key.
    """
    config = SiteConfig.read(site_file)
    return config, identity_of(config)


def identity_of(config: SiteConfig) -> Identity:
    """Return a site's identity, which must exist.

    Raises:
        StoreError: If there is no signing key.
    """
    key = SiteState(config.state).key_path
    if not key.exists():
        raise StoreError(
            f"site {config.name} has no signing key {key}",
            remedy="restore it from backup; a new site gets one from `fedprint site init`",
        )
    return Identity.load_or_create(config.name, key)


def in_words(known: Forecast) -> str:
    """Return how long a budget lasts."""
    if known.n_more == 0:
        free = known.possible_from
        return "spent for good" if free is None else f"spent until {day(free)}"
    pace = f"at one release of this size every {known.interval / DAY:.3g} days"
    if known.n_more is None or known.lasts_until is None:
        return f"{pace}: without end"
    more = f"{known.n_more:,}" + (" or more" if known.n_more == MOST_RELEASES else " more")
    return f"{pace}: {more}; the last one on {day(known.lasts_until)}"


def _forecast(chain: Chain, policy: Policy, budget: Budget, now: float) -> Forecast | None:
    """Forecast with the dearest release that the policy lets draw on the budget."""
    tasks = (policy.task(name) for name, table in policy.tasks.items() if table.with_noise)
    concerned = [release for task in tasks if (release := next_release(task, chain.outlays)).concerns(budget)]
    if not concerned:
        return None
    return forecast(chain.outlays, budget, max(concerned, key=lambda release: release.rho), now)


def next_release(task: TaskPolicy, outlays: Sequence[Outlay]) -> Charge:
    """Return what one more release would be charged; new patients go on with the series of the last ones."""
    terms = task.terms
    own = (outlay for outlay in reversed(outlays) if outlay.task == task.name)
    series = next((outlay.series[1] for outlay in own if outlay.cohort is not None), "")
    cohort = f"{series}/next" if terms.refresh == "new-patients" else None
    return Charge("next", "", task.name, terms.population.name, cohort, terms.release_rho)


def _budget_table(forecasts: tuple[Forecast, ...], now: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("budget", "limit", "spent", "remaining", "one release", "next one", "forecast"):
        table.add_column(column)
    for known in forecasts:
        budget = known.budget
        amounts = (budget.limit, known.spent, known.remaining, known.release_rho)
        table.add_row(
            escape(_title(budget)), *map(budget.describe, amounts), _next(known, now), in_words(known)
        )
    return table


def _title(budget: Budget) -> str:
    days = "for ever" if budget.period is None else f"per {budget.period / DAY:g} days"
    shared = " (all its tasks)" if budget.scope is Scope.POPULATION else ""
    return f"{budget}{shared}, {days}"


def _next(known: Forecast, now: float) -> str:
    if known.possible_from is None:
        return "never"
    return "now" if known.possible_from <= now else day(known.possible_from)


def _how(charge: Charge) -> str:
    """Return what hides the patients, and in whose sum."""
    told = charge.mechanism
    name = str(told.get("name", ""))
    if "step" in told:
        return f"{name}, a model {told.get('network')} of {told.get('epochs')} epochs"
    if "round" in told:
        return f"{name}, {told.get('honest')} honest shares in cohort {told.get('cohort')}"
    return name


def _entry_table(entries: tuple[Entry, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("entry", "when", "what", "task", "population", "cohort", "ρ", "how", "job", "hash"):
        table.add_column(column)
    for entry in entries:
        charge = entry.charge
        told = (
            ("",) * 6
            if charge is None
            else (
                *(charge.task, charge.population, charge.cohort or "all"),
                *(str(charge.rho), _how(charge), charge.job_id),
            )
        )
        table.add_row(str(entry.seq), moment(entry.at), entry.kind, *map(escape, told), entry.hash[:12])
    return table
