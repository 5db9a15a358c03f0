"""Configuration of a cohort: sites that hold the same task and publish only the sum of their sketches."""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from federation.names import check_name, task_key
from federation.pooled import MAX_PATIENTS
from federation.privacy.accounting import rho_for
from federation.privacy.weight import MAX_IMAGES_PER_PATIENT
from federation.secagg import graph
from federation.secagg.terms import SMALLEST_COHORT
from federation.task_card import TaskCard

_AMOUNT = re.compile(r"[0-9.e+-]{1,60}(/[0-9]{1,60})?", re.ASCII)


def _amount(value: object) -> object:
    """Read an exact amount: a decimal means what is written, not the binary number closest to it."""
    if isinstance(value, Fraction):
        return value
    text = value if isinstance(value, str) else repr(value)
    try:
        amount = Fraction(text) if _AMOUNT.fullmatch(text) else None
    except (ValueError, ZeroDivisionError):
        amount = None
    if amount is None or amount <= 0:
        raise ValueError(f'{text[:60]} is no amount, expected a number above 0 or a fraction such as "1/20"')
    return amount


class CohortConfig(BaseModel):
    """One cohort; without ``eps`` or ``rho`` its sum is exact, which every member's policy must allow."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(description="name of the cohort: the fingerprint's address is name/task")
    task: str = Field(description="name of the task, the same at every member")
    sites: tuple[str, ...] = Field(min_length=SMALLEST_COHORT, description="the members")
    eps: Annotated[float, Field(gt=0, le=1e9)] | None = Field(None, description="ε of the sum for a patient")
    rho: Annotated[Fraction, BeforeValidator(_amount), PlainSerializer(str)] | None = Field(
        None, description='ρ of the sum instead, such as "1/20"'
    )
    delta: Annotated[float, Field(gt=0, lt=1)] | None = Field(None, description="δ at which ε is stated")
    images_per_patient: Annotated[int, Field(ge=1, le=MAX_IMAGES_PER_PATIENT)] | None = Field(
        None, description="at most so many images of a patient are used"
    )
    unit: Literal["patient", "image"] = Field("patient", description="whom the noise hides")
    colluders: Annotated[int, Field(ge=0)] | None = Field(
        None, description="members assumed to work against the others; as many as the protocol bears"
    )
    max_patients: int = Field(100_000, ge=1, le=MAX_PATIENTS, description="no member has more patients")
    step_timeout_s: float = Field(
        120.0, gt=0, description="seconds that later steps wait; the first: timeout_s"
    )
    refresh_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="days after which the sum is asked for again; by default never"
    )
    title: str = ""
    modality: str = ""
    body_part: str = ""
    keywords: tuple[str, ...] = ()
    licence: str = ""
    contact: str = ""

    @model_validator(mode="after")
    def _noise_is_complete_or_absent(self) -> Self:
        said = {"delta": self.delta, "images_per_patient": self.images_per_patient}
        if self.eps is not None and self.rho is not None:
            raise ValueError(f"cohort {self.name} has both eps and rho, expected one of them")
        if not self.has_noise:
            named = sorted(key for key, value in said.items() if value is not None)
            if named:
                raise ValueError(f"cohort {self.name} has {named[0]} and neither eps nor rho")
        else:
            missing = sorted(key for key, value in said.items() if value is None)
            if missing:
                raise ValueError(f"cohort {self.name} has a budget and no {missing[0]}")
        return self

    @model_validator(mode="after")
    def _members_can_form_a_cohort(self) -> Self:
        for kind, name in (("cohort", self.name), ("task", self.task), *(("site", s) for s in self.sites)):
            check_name(kind, name)
        if len(set(self.sites)) != len(self.sites):
            raise ValueError(f"cohort {self.name} names a site twice")
        most = graph.most_colluders(len(self.sites))
        if self.colluders is not None and self.colluders > most:
            raise ValueError(
                f"cohort {self.name}: colluders is {self.colluders}, expected at most {most} of "
                f"{len(self.sites)} sites"
            )
        return self

    @property
    def address(self) -> str:
        """Address of the sum in the catalogue."""
        return task_key(self.name, self.task)

    @property
    def has_noise(self) -> bool:
        """Whether every member adds a share of noise."""
        return self.eps is not None or self.rho is not None

    @property
    def budget(self) -> Fraction | None:
        """ρ of the sum, None where it is exact."""
        if self.eps is not None and self.delta is not None:
            return rho_for(self.eps, self.delta)
        return self.rho

    def card(self, n_images: int) -> TaskCard:
        """Return the public description of the sum.

        Args:
            n_images: How many images or patients it says it counts.
        """
        words = {key: getattr(self, key) for key in ("title", "modality", "body_part", "keywords")}
        return TaskCard(self.task, n_images, licence=self.licence, contact=self.contact, **words)


def check_cohorts(cohorts: Sequence[CohortConfig], roster: Mapping[str, str] | None) -> None:
    """Raise unless cohorts fit the enrolled sites and each other.

    Args:
        cohorts: The cohorts.
        roster: Site → public key of every enrolled site; None where sites come and go, so that a cohort may
            name one that is no member today.

    Raises:
        ValueError: Naming the cohort.
    """
    members: dict[str, frozenset[str]] = {}
    for cohort in cohorts:
        strangers = [] if roster is None else sorted(set(cohort.sites) - set(roster))
        if strangers:
            raise ValueError(f"cohort {cohort.name} names {strangers[0]}, which is no enrolled site")
        if cohort.name in (cohort.sites if roster is None else roster):
            raise ValueError(f"cohort {cohort.name} has the name of a site; give it another")
        if members.setdefault(cohort.name, frozenset(cohort.sites)) != frozenset(cohort.sites):
            raise ValueError(f"two cohorts named {cohort.name} have different members; give one another name")
    addresses = [cohort.address for cohort in cohorts]
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is configured twice")
