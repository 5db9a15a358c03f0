"""The cohorts of a simulated consortium, and what can be wrong with them before any work is done."""

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from aggregator.cohort_config import CohortConfig
from deploy.site_policy import Membership, PrivacyConfig
from federation.names import task_key
from federation.privacy.accounting import rho_for
from federation.trust import TrustMode
from site_agent.config import SiteConfig


class SimulatedCohort(CohortConfig):
    """A cohort whose members' policies are written by whoever simulates them."""

    exact_because: str | None = Field(
        None, description="why the sum may leave without noise, in words; instead of eps or rho"
    )

    @model_validator(mode="after")
    def _noise_or_words(self) -> Self:
        if not self.has_noise and not (self.exact_because or "").strip():
            raise ValueError(
                "neither eps nor rho is given, so the sum would leave without noise: give one of them, or "
                "say in exact_because why it may"
            )
        if self.has_noise and self.exact_because is not None:
            raise ValueError("exact_because is given, but the sum gets noise: remove it, or eps and rho")
        return self

    @property
    def at_hub(self) -> CohortConfig:
        """What the aggregator knows of it."""
        return CohortConfig.model_validate(self.model_dump(exclude={"exact_because"}, exclude_none=True))


def check_cohorts(
    cohorts: Sequence[SimulatedCohort], sites: Sequence[SiteConfig], privacy: PrivacyConfig
) -> None:
    """Raise where cohorts contradict the sites, each other or the sites' budgets.

    Raises:
        ValueError: Naming the cohort and what is wrong.
    """
    modes = {task_key(s.name, d.task): s.mode(d) for s in sites for d in s.dataset}
    _check_names(cohorts, sites)
    member_of: dict[str, str] = {}
    for cohort in cohorts:
        for site in cohort.sites:
            key = task_key(site, cohort.task)
            _check_member(cohort, key, modes)
            if key in member_of:
                raise ValueError(f"{key} is in the cohorts {member_of[key]} and {cohort.name}, expected one")
            member_of[key] = cohort.name
        if cohort.has_noise:
            _check_budget(cohort, privacy)
    alone = sorted(key for key, mode in modes.items() if mode is TrustMode.POOLED and key not in member_of)
    if alone:
        raise ValueError(f'{alone[0]} has trust "pooled", but no [[cohort]] names its site and task')


def memberships(
    cohorts: Sequence[SimulatedCohort], site: str, keys: Mapping[str, str]
) -> dict[str, Membership]:
    """Return task → what a site's policy says about its cohort.

    Args:
        cohorts: All cohorts.
        site: Name of the site.
        keys: Site → public key.
    """
    return {
        cohort.task: Membership(
            cohort.name,
            {member: keys[member] for member in cohort.sites},
            cohort.colluders,
            cohort.exact_because,
        )
        for cohort in cohorts
        if site in cohort.sites
    }


def _check_names(cohorts: Sequence[SimulatedCohort], sites: Sequence[SiteConfig]) -> None:
    names = [cohort.name for cohort in cohorts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two cohorts are named {twice[0]!r}; give every cohort its own name")
    taken = sorted({*names} & {site.name for site in sites})
    if taken:
        raise ValueError(f"a cohort and a site are both named {taken[0]!r}; the catalogue needs two names")


def _check_member(cohort: SimulatedCohort, key: str, modes: dict[str, TrustMode]) -> None:
    if key not in modes:
        raise ValueError(f"cohort {cohort.name} names {key}, which is no site/task of this file")
    if modes[key] is not TrustMode.POOLED:
        raise ValueError(
            f'cohort {cohort.name}: the trust of {key} is "{modes[key].value}", expected "pooled"'
        )


def _check_budget(cohort: SimulatedCohort, privacy: PrivacyConfig) -> None:
    rho, limit = cohort.budget, rho_for(privacy.release_eps, privacy.delta)
    if rho is not None and rho > limit:
        raise ValueError(
            f"cohort {cohort.name} would spend ρ = {float(rho):.4g}, expected at most that of "
            f"privacy.release_eps = {privacy.release_eps:g}, ρ = {float(limit):.4g}"
        )
    if (cohort.images_per_patient or 1) > privacy.images_per_patient:
        raise ValueError(
            f"cohort {cohort.name}: images_per_patient is {cohort.images_per_patient}, expected at most that "
            f"of [privacy], {privacy.images_per_patient}"
        )
