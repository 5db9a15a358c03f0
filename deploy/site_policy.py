"""The policies of simulated sites: whoever simulates answers for all of them."""

from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, model_validator

from federation.privacy.weight import MAX_IMAGES_PER_PATIENT
from federation.space import Space
from federation.trust import TrustMode
from site_agent.config import SiteConfig

_POPULATION = "patients"
_WHY_OPEN = "simulated on one machine by somebody who holds the data of all sites"


class PrivacyConfig(BaseModel):
    """What sites with trust mode ``private`` promise their patients."""

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


def policy_text(site: SiteConfig, privacy: PrivacyConfig, space: Space, aggregator: str) -> str:
    """Return the policy file of a simulated site: what its trust modes need, and nothing else.

    Args:
        site: The site.
        privacy: Budgets of its private tasks.
        space: The only space that is allowed.
        aggregator: Public key of the only aggregator that is answered.
    """
    tasks = {dataset.task: _task(site.mode(dataset), privacy, space) for dataset in site.dataset}
    stated: dict[str, Any] = {"schema": 1, "aggregator": {"public_keys": [aggregator]}}
    if TrustMode.PRIVATE in map(site.mode, site.dataset):
        kept = privacy.model_dump(include={"eps", "delta", "period_days"}, exclude_none=True)
        stated["population"] = {_POPULATION: kept}
    return tomli_w.dumps(stated | {"task": {name: table for name, table in tasks.items() if table}})


def _task(mode: TrustMode, privacy: PrivacyConfig, space: Space) -> dict[str, Any]:
    if mode is TrustMode.OPEN:
        return {"modes": [mode.value], "open_because": _WHY_OPEN}
    if mode is not TrustMode.PRIVATE:
        return {}
    own = {"modes": [mode.value], "population": _POPULATION, "spaces": [space.space_id]}
    unused = {"delta", "period_days"} | ({"refresh_days"} if privacy.refresh == "never" else set())
    limits = privacy.model_dump(exclude=unused, exclude_none=True)
    return own | {"sketches": sorted(space.sketches)} | limits
