"""The policies of simulated sites: whoever simulates answers for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, model_validator

from federation.names import task_key
from federation.privacy.weight import MAX_IMAGES_PER_PATIENT
from federation.space import Space
from federation.trust import TrustMode
from site_agent.config import SiteConfig

_POPULATION = "patients"
_WHY_OPEN = "simulated on one machine by somebody who holds the data of all sites"


class PrivacyConfig(BaseModel):
    """What sites promise the patients of tasks that leave with noise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release_eps: float = Field(1.0, gt=0, allow_inf_nan=False, description="ε of one release")
    eps: float = Field(4.0, gt=0, allow_inf_nan=False, description="ε of all tasks of a site together")
    delta: float = Field(1e-6, gt=0, lt=1, description="δ of both")
    period_days: float | None = Field(None, gt=0, description="days after which spent budget returns")
    images_per_patient: int = Field(1, ge=1, le=MAX_IMAGES_PER_PATIENT)
    minimum_patients: int = Field(50, ge=1, description="fewer patients release nothing")
    refresh: Literal["never", "new-patients", "whole"] = Field("never", description="what replaces a release")
    refresh_days: float = Field(30, ge=0, allow_inf_nan=False, description="after how many days")
    levels: int | None = Field(None, ge=1, le=4, description="levels of a cdf sketch, all unless given")

    @model_validator(mode="after")
    def _budgets_fit_together(self) -> "PrivacyConfig":
        if self.release_eps > self.eps:
            raise ValueError(f"release_eps is {self.release_eps:g}, expected at most eps, {self.eps:g}")
        if self.delta * self.minimum_patients >= 1:
            raise ValueError(f"delta is {self.delta:g}, expected less than 1/{self.minimum_patients}")
        return self


@dataclass(frozen=True)
class Membership:
    """A task of a site that is pooled, as its policy states it.

    Args:
        cohort: Name of the cohort.
        members: Site → public key of everybody in it.
        colluders: At least so many are assumed to work against the site; None: all that the protocol bears.
        exact_because: Why the sum may leave without noise; None: it gets noise.
    """

    cohort: str
    members: Mapping[str, str]
    colluders: int | None = None
    exact_because: str | None = None

    def table(self) -> dict[str, Any]:
        """Return the policy's table of the cohort."""
        stated = {} if self.colluders is None else {"colluders": self.colluders}
        return {**stated, "members": dict(sorted(self.members.items()))}


NOT_POOLED: Mapping[str, Membership] = MappingProxyType({})


@dataclass(frozen=True)
class TransferGrant:
    """What simulated sites let transfer experiments do.

    Args:
        networks: Architectures that may be trained, ``"library:name"``; empty: those every site knows.
        model_sources: Site → public key of everybody whose models may be loaded.
        cohorts: Cohort → addresses of the tasks whose updates of common training may be summed in it.
    """

    networks: tuple[str, ...] = ()
    model_sources: Mapping[str, str] = field(default_factory=dict)
    cohorts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def table(self) -> dict[str, Any]:
        """Return the policy's table of transfer experiments as a whole."""
        stated = {"networks": sorted(self.networks)} if self.networks else {}
        return {**stated, "model_sources": dict(sorted(self.model_sources.items()))}

    def of_task(self, address: str, mode: TrustMode) -> dict[str, Any]:
        """Return what may leave of a task; one that listens or is pooled takes no part."""
        if mode is TrustMode.OPEN:
            how = {"models": "exact", "models_because": _WHY_OPEN, **self._summed(address)}
        elif mode is TrustMode.PRIVATE:
            how = {"models": "private"}
        else:
            return {}
        return {"metrics_because": _WHY_OPEN, "measured_images": 1, "steps": 10**6, **how, "models_to": "any"}

    def summed_at(self, site: str) -> dict[str, Any]:
        """Return the policy's tables of the cohorts in which updates of a site may be summed."""
        members = {
            cohort: [address.partition("/")[0] for address in addresses]
            for cohort, addresses in self.cohorts.items()
        }
        return {
            cohort: Membership(cohort, {name: self.model_sources[name] for name in names}).table()
            for cohort, names in members.items()
            if site in names
        }

    def _summed(self, address: str) -> dict[str, str]:
        names = [cohort for cohort, addresses in self.cohorts.items() if address in addresses]
        return {"summed_in": names[0], "summed_because": _WHY_OPEN} if names else {}


def policy_text(
    site: SiteConfig,
    privacy: PrivacyConfig,
    space: Space,
    aggregator: str,
    pooled: Mapping[str, Membership] = NOT_POOLED,
    transfer: TransferGrant | None = None,
) -> str:
    """Return the policy file of a simulated site: what its trust modes need, and nothing else.

    Args:
        site: The site.
        privacy: Budgets of its tasks that leave with noise.
        space: The only space that is allowed.
        aggregator: Public key of the only aggregator that is answered.
        pooled: Task → the cohort it is pooled in.
        transfer: What transfer experiments may do; None: nothing.
    """
    tasks = {d.task: _task(site.mode(d), privacy, space, pooled.get(d.task)) for d in site.dataset}
    stated: dict[str, Any] = {"schema": 1, "aggregator": {"public_keys": [aggregator]}}
    if any("population" in table for table in tasks.values()):
        kept = privacy.model_dump(include={"eps", "delta", "period_days"}, exclude_none=True)
        stated["population"] = {_POPULATION: kept}
    if transfer is not None:
        stated["transfer"] = transfer.table()
        for dataset in site.dataset:
            address = task_key(site.name, dataset.task)
            _permit(tasks[dataset.task], transfer.of_task(address, site.mode(dataset)))
    cohorts = {} if transfer is None else transfer.summed_at(site.name)
    cohorts |= {member.cohort: member.table() for member in pooled.values()}
    if cohorts:
        stated["cohort"] = cohorts
    return tomli_w.dumps(stated | {"task": {name: table for name, table in tasks.items() if table}})


def _permit(task: dict[str, Any], transfer: dict[str, Any]) -> None:
    if transfer:
        task["transfer"] = transfer


def _task(mode: TrustMode, privacy: PrivacyConfig, space: Space, pooled: Membership | None) -> dict[str, Any]:
    if mode is TrustMode.OPEN:
        return {"modes": [mode.value], "open_because": _WHY_OPEN}
    if mode is TrustMode.PRIVATE:
        unused = {"refresh_days"} if privacy.refresh == "never" else set()
        return {"modes": [mode.value], **_protected(privacy, space, unused)}
    if mode is not TrustMode.POOLED or pooled is None:
        return {}
    own = {"modes": [mode.value], "cohort": pooled.cohort}
    if pooled.exact_because is not None:
        return own | {"exact_sum_because": pooled.exact_because}
    return own | _protected(privacy, space, {"refresh", "refresh_days", "levels"})


def _protected(privacy: PrivacyConfig, space: Space, unused: set[str]) -> dict[str, Any]:
    """Return the budget of a task that leaves with noise, and the only space that it may leave in."""
    limits = privacy.model_dump(exclude={"delta", "period_days"} | unused, exclude_none=True)
    own = {"population": _POPULATION, "spaces": [space.space_id], "sketches": sorted(space.sketches)}
    return own | limits
