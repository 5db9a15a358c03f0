"""A site's own rules: what each task may be released as, to whom, and how much of its patients' privacy.

Whatever the file does not say is forbidden; whatever it says twice in different ways is an error.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from federation.config_file import read_config
from federation.errors import PolicyError
from federation.secagg import graph
from federation.space import Space
from federation.trust import TrustMode
from site_agent.cohort_policy import CohortPolicy
from site_agent.ledger.budget import Budget, Scope
from site_agent.policy_tables import (
    ANY,
    AggregatorTable,
    CohortTable,
    Name,
    PopulationTable,
    TaskTable,
    TransferTable,
)
from site_agent.transfer.policy import TransferPolicy

POLICY_FILE = "policy.toml"
"""Name of the policy beside the site file."""

_DAY = 86_400.0
Refresh = Literal["never", "new-patients", "whole"]


@dataclass(frozen=True)
class PrivateTerms:
    """What a release with noise must keep to.

    Args:
        population: Budget that the task shares with all tasks of the same patients.
        task: The task's own budget.
        release_rho: Most ρ that one release may spend.
        images_per_patient: Most images of one patient that count.
        minimum_patients: Fewer patients release nothing.
        refresh: What replaces what stands, when it is due.
        levels: How many levels of thresholds a cdf sketch has; None: all of the space.
        refresh_seconds: Age at which what stands is replaced, whether or not the data have changed.
    """

    population: Budget
    task: Budget
    release_rho: Fraction
    images_per_patient: int
    minimum_patients: int
    refresh: Refresh
    levels: int | None = None
    refresh_seconds: float = math.inf


@dataclass(frozen=True)
class TaskPolicy:
    """What the site's policy says about one task.

    Args:
        name: The task.
        modes: What it may be released as.
        aggregators: Public keys of the aggregators whose requests are answered.
        spaces: Ids of the spaces it may be released in; None: any.
        sketches: Kinds of sketches that may leave; None: any.
        open_because: Why its exact sketches may leave, empty where they may not.
        private: The terms of releases with noise, alone or in a sum; None where there are none.
        cohort: The sites whose sketches may be summed with its own; None where none may.
        exact_sum_because: Why such a sum may leave without noise, empty where it may not.
        transfer: What may leave of it in transfer experiments; None: it takes no part in any.
    """

    name: str
    modes: frozenset[TrustMode]
    aggregators: frozenset[str]
    spaces: frozenset[str] | None = frozenset()
    sketches: frozenset[str] | None = frozenset()
    open_because: str = ""
    private: PrivateTerms | None = None
    cohort: CohortPolicy | None = None
    exact_sum_because: str = ""
    transfer: TransferPolicy | None = None

    def allows(self, mode: TrustMode) -> bool:
        """Return whether the task may be released in a trust mode; listening releases nothing."""
        return mode is TrustMode.LISTEN or mode in self.modes

    def require(self, mode: TrustMode) -> None:
        """Raise unless the task may be released in a trust mode.

        Raises:
            PolicyError: If it may not.
        """
        if not self.allows(mode):
            allowed = ", ".join(f'"{known.value}"' for known in TrustMode if self.allows(known))
            raise PolicyError(
                f'task {self.name}: trust is "{mode.value}", but the policy allows only {allowed}',
                remedy=f"change trust in the site file, or modes of task.{self.name} in {POLICY_FILE}",
            )

    @property
    def terms(self) -> PrivateTerms:
        """The terms of releases with noise.

        Raises:
            PolicyError: If the task may not be released so.
        """
        if self.private is None:
            raise PolicyError(
                f"task {self.name}: the policy allows no release with noise",
                remedy=f'give task.{self.name} in {POLICY_FILE} a budget and "private" or "pooled" in modes',
            )
        return self.private

    @property
    def in_transfer(self) -> TransferPolicy:
        """What may leave of the task in transfer experiments.

        Raises:
            PolicyError: If it takes no part in them.
        """
        if self.transfer is None:
            raise PolicyError(
                f"task {self.name}: the policy lets it take no part in transfer experiments",
                remedy=f"add metrics_because to [task.{self.name}.transfer] in {POLICY_FILE} if it shall",
            )
        return self.transfer

    @property
    def release_rho(self) -> Fraction:
        """Most ρ that one release may spend."""
        return self.terms.release_rho

    def budgets(self) -> tuple[Budget, Budget]:
        """Return the budget of the task's population and its own.

        Raises:
            PolicyError: If the task may not be released with noise.
        """
        return self.terms.population, self.terms.task

    def require_enough(self, n_patients: int) -> None:
        """Raise unless so many patients may be released with noise.

        Raises:
            PolicyError: If they are too few, or too many for the δ of a budget.
        """
        if n_patients < self.terms.minimum_patients:
            raise PolicyError(
                f"task {self.name} has {n_patients} patients, the policy asks for "
                f"{self.terms.minimum_patients}",
                remedy="release it when there are more, or let it listen",
            )
        delta = max(budget.delta for budget in self.budgets())
        if delta * n_patients >= 1:
            raise PolicyError(
                f"task {self.name}: δ = {delta:g} is not below 1/{n_patients}, so it allows to publish "
                "somebody",
                remedy="choose a smaller δ in the policy",
            )

    def check_request(self, space: Space, aggregator: str) -> None:
        """Raise unless an aggregator may have the task's sketches in a space.

        Args:
            space: The space that is asked for.
            aggregator: Public key that signed the request, 64 hexadecimal digits.

        Raises:
            PolicyError: If it may not.
        """
        check_aggregator(self.aggregators, aggregator)
        if self.spaces is not None and space.space_id not in self.spaces:
            raise PolicyError(
                f"task {self.name}: the policy does not allow space {space.space_id} ({space.name})",
                remedy=f"add the id to spaces of task.{self.name} in {POLICY_FILE} if it shall",
            )
        refused = [] if self.sketches is None else sorted(set(space.sketches) - self.sketches)
        if refused:
            raise PolicyError(
                f"task {self.name}: the policy does not allow sketches of kind {', '.join(refused)}",
                remedy=f"add them to sketches of task.{self.name} in {POLICY_FILE} if it shall",
            )


class Policy(BaseModel):
    """A site's policy, as read from its file and free of contradictions."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    version: Literal[1] = Field(alias="schema")
    aggregator: AggregatorTable
    population: dict[Name, PopulationTable] = Field(default_factory=dict)
    cohorts: dict[Name, CohortTable] = Field(default_factory=dict, alias="cohort")
    tasks: dict[Name, TaskTable] = Field(default_factory=dict, alias="task")
    transfer: TransferTable = Field(default_factory=TransferTable)

    @model_validator(mode="after")
    def _tasks_fit_their_populations(self) -> "Policy":
        for name, task in self.tasks.items():
            if task.with_noise:
                self._check_noise(name, task)
        return self

    @model_validator(mode="after")
    def _tasks_fit_their_cohorts(self) -> "Policy":
        pooling: dict[str, str] = {}
        for name, task in self.tasks.items():
            self._check_cohort(f"task.{name}.cohort", task.cohort)
            if task.transfer is not None:
                self._check_cohort(f"task.{name}.transfer.summed_in", task.transfer.summed_in)
            if task.cohort is None:
                continue
            other = pooling.setdefault(task.cohort, name)
            if other != name:
                raise ValueError(f'task.{name}.cohort is "{task.cohort}", which is that of task.{other}')
            self._check_exact_sum(name, task)
        return self

    @classmethod
    def read(cls, path: Path) -> "Policy":
        """Read a policy file.

        Raises:
            ConfigError: If the file is wrong.
            PolicyError: If there is none; nothing leaves then.
        """
        if not path.exists():
            raise PolicyError(
                f"there is no policy {path}, so nothing leaves this site",
                remedy="`fedprint site init` writes a commented one beside the site file",
            )
        return read_config(path, cls, remedy="correct the policy; until then nothing leaves this site")

    def task(self, name: str) -> TaskPolicy:
        """Return what the policy says about a task; one that it does not name may only listen."""
        keys = frozenset(self.aggregator.public_keys)
        table = self.tasks.get(name)
        if table is None:
            return TaskPolicy(name, frozenset({TrustMode.LISTEN}), keys)
        return TaskPolicy(
            name,
            frozenset(table.modes),
            keys,
            None if table.spaces in (None, (ANY,)) else frozenset(table.spaces or ()),
            None if table.sketches is None else frozenset(table.sketches),
            table.open_because or "",
            self._terms(name, table) if table.with_noise else None,
            None if table.cohort is None else self.cohort(table.cohort),
            table.exact_sum_because or "",
            TransferPolicy.of(name, table.transfer, self.transfer, self._summing(table)),
        )

    def cohort(self, name: str) -> CohortPolicy:
        """Return what the policy says about a cohort.

        Raises:
            PolicyError: If it does not name it.
        """
        table = self.cohorts.get(name)
        if table is None:
            raise PolicyError(
                f"the policy does not name a cohort {name}",
                remedy=f"agree on the members' keys by phone, then add [cohort.{name}] to {POLICY_FILE}",
            )
        return CohortPolicy(name, dict(table.members), table.assumed_colluders)

    def _summing(self, table: TaskTable) -> CohortPolicy | None:
        """Return the sites whose updates of common training may be summed with those of a task."""
        summed_in = None if table.transfer is None else table.transfer.summed_in
        return None if summed_in is None else self.cohort(summed_in)

    def task_of_cohort(self, name: str) -> TaskPolicy:
        """Return what the policy says about the one task that a cohort pools.

        Raises:
            PolicyError: If the policy does not name the cohort, or no task of it.
        """
        self.cohort(name)
        for task, table in self.tasks.items():
            if table.pooled and table.cohort == name:
                return self.task(task)
        raise PolicyError(
            f"the policy lets no task be summed in cohort {name}",
            remedy=f'name cohort = "{name}" and the mode "pooled" at a task in {POLICY_FILE} if it shall',
        )

    def check_aggregator(self, public_key: str) -> None:
        """Raise unless requests signed with a key are answered.

        Raises:
            PolicyError: If they are not.
        """
        check_aggregator(frozenset(self.aggregator.public_keys), public_key)

    def budgets(self) -> tuple[Budget, ...]:
        """Return every budget: those of the populations, then those of the tasks."""
        populations = tuple(self._population_budget(name) for name in self.population)
        own = (self.task(name) for name, table in self.tasks.items() if table.with_noise)
        return populations + tuple(task.terms.task for task in own)

    def _population_budget(self, name: str) -> Budget:
        table = self.population[name]
        return Budget(Scope.POPULATION, name, table.limit, table.delta, _seconds(table.period_days))

    def _task_budget(self, name: str, table: TaskTable) -> Budget:
        shared = self.population[table.population or ""]
        delta = table.delta or shared.delta
        period = _seconds(table.period_days or shared.period_days)
        return Budget(Scope.TASK, name, table.limit(delta), delta, period)

    def _terms(self, name: str, table: TaskTable) -> PrivateTerms:
        own = self._task_budget(name, table)
        return PrivateTerms(
            self._population_budget(table.population or ""),
            own,
            table.release_limit(own.delta),
            table.images_per_patient or 1,
            table.minimum_patients or 1,
            table.refresh or "never",
            table.levels,
            math.inf if table.refresh_days is None else table.refresh_days * _DAY,
        )

    def _check_noise(self, name: str, task: TaskTable) -> None:
        place = f"task.{name}"
        if task.population not in self.population:
            known = ", ".join(sorted(self.population)) or "at least one [population.NAME]"
            raise ValueError(f'{place}.population is "{task.population}", expected {known}')
        self._check_delta(place, task)
        terms = self._terms(name, task)
        shared = f"population.{task.population}"
        _at_most(f"{place}.{_key(task, '')}", terms.task, terms.task.limit, terms.population.limit, shared)
        _at_most(
            f"{place}.{_key(task, 'release_')}",
            terms.task,
            terms.release_rho,
            terms.task.limit,
            f"{place} itself",
        )

    def _check_cohort(self, place: str, named: str | None) -> None:
        if named is not None and named not in self.cohorts:
            known = ", ".join(sorted(self.cohorts)) or "at least one [cohort.NAME]"
            raise ValueError(f'{place} is "{named}", expected {known}')

    def _check_exact_sum(self, name: str, task: TaskTable) -> None:
        n = len(self.cohorts[task.cohort or ""].members)
        if task.exact_sum_because is not None and n > graph.MOST_COMPLETE:
            raise ValueError(
                f"task.{name}.exact_sum_because is given, but cohort {task.cohort} has {n} members, expected "
                f"at most {graph.MOST_COMPLETE}: in a larger one two exact sums could differ by one site"
            )

    def _check_delta(self, place: str, task: TaskTable) -> None:
        shared = f"population.{task.population}"
        deltas = {f"{shared}.delta": self.population[task.population or ""].delta}
        if task.delta is not None:
            deltas[f"{place}.delta"] = task.delta
        for key, delta in deltas.items():
            if delta * (task.minimum_patients or 1) >= 1:
                raise ValueError(
                    f"{key} is {delta:g}, expected less than 1/{task.minimum_patients}, "
                    f"one divided by {place}.minimum_patients"
                )


def check_aggregator(known: frozenset[str], public_key: str) -> None:
    """Raise unless a public key is among those whose requests are answered.

    Raises:
        PolicyError: If it is not.
    """
    if public_key not in known:
        raise PolicyError(
            f"the policy does not name the aggregator with the key {public_key}",
            remedy=f"compare its key by phone, then add it to aggregator.public_keys in {POLICY_FILE}",
        )


def _seconds(days: float | None) -> float | None:
    return None if days is None else days * _DAY


def _key(task: TaskTable, prefix: str) -> str:
    return f"{prefix}eps" if getattr(task, f"{prefix}rho") is None else f"{prefix}rho"


def _at_most(key: str, budget: Budget, value: Fraction, limit: Fraction, owner: str) -> None:
    if value > limit:
        raise ValueError(
            f"{key} means {budget.describe(value)}, "
            f"expected at most the budget of {owner}, {budget.describe(limit)}"
        )
