"""The tables of a policy file, and the contradictions that one table alone can hold."""

import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from federation.errors import ConfigError
from federation.names import check_name
from federation.privacy.accounting import rho_for
from federation.privacy.weight import MAX_IMAGES_PER_PATIENT
from federation.secagg import graph
from federation.secagg.terms import SMALLEST_COHORT
from federation.sketches.kinds import KINDS
from federation.trust import TrustMode

ANY = "any"
"""Every space is allowed."""

_AMOUNT = re.compile(r"[0-9]{1,18}/[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{1,18})?(e-?[0-9]{1,2})?")
_HEX = re.compile(r"[0-9a-f]{64}")
_NETWORK = re.compile(r"(timm|torchvision):[A-Za-z0-9_.-]{1,64}")


def _amount(value: object) -> Fraction:
    """Read an exact amount: a decimal means what is written, not the binary number closest to it."""
    text = value if isinstance(value, str) else repr(value)
    try:
        amount = Fraction(text) if _AMOUNT.fullmatch(text) else None
    except ZeroDivisionError:
        amount = None
    if amount is None or amount <= 0:
        raise ValueError(f'{text} is no amount, expected a number above 0 or a fraction such as "1/20"')
    return amount


def _digits(text: str) -> str:
    if not _HEX.fullmatch(text):
        raise ValueError(f'"{text[:70]}" is no key or id, expected 64 lower-case hexadecimal digits')
    return text


def _name(name: str) -> str:
    try:
        return check_name("the", name)
    except ConfigError as error:
        raise ValueError(f"{error.problem}: {error.remedy}") from error


def _sketch_kind(name: str) -> str:
    if name not in KINDS:
        raise ValueError(f'"{name[:70]}" is no kind of sketch, expected some of {", ".join(sorted(KINDS))}')
    return name


def _space_ids(value: object) -> tuple[str, ...]:
    if value == ANY:
        return (ANY,)
    if not isinstance(value, list | tuple) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError('expected "any" or a list of at least one space id')
    return tuple(_digits(item) for item in value)


def _network(name: str) -> str:
    if not _NETWORK.fullmatch(name):
        raise ValueError(f'"{name[:80]}" is no network, expected a library and a name as in "timm:resnet18"')
    return name


def _sites(value: object) -> tuple[str, ...]:
    if value == ANY:
        return (ANY,)
    if not isinstance(value, list | tuple) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError('expected "any" or a list of at least one site')
    if ANY in value:
        raise ValueError('a list has "any" in it, expected "any" by itself or names of sites')
    return tuple(_name(item) for item in value)


Eps = Annotated[float, Field(gt=0, le=1e9)]
Delta = Annotated[float, Field(gt=0, lt=1)]
Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rho = Annotated[Fraction, BeforeValidator(_amount)]
Name = Annotated[str, AfterValidator(_name)]
HexDigits = Annotated[str, AfterValidator(_digits)]
Mode = Annotated[TrustMode, Field(strict=False)]
SketchKind = Annotated[str, AfterValidator(_sketch_kind)]
Several = Field(strict=False, min_length=1)

_FOR_NOISE = ("population", "images_per_patient", "minimum_patients", "spaces", "sketches")
_ONLY_WITH_NOISE = (
    *("population", "eps", "rho", "release_eps", "release_rho", "delta", "period_days"),
    *("images_per_patient", "minimum_patients"),
)
_ONLY_PRIVATE = ("refresh", "refresh_days", "levels")


class _Table(BaseModel):
    # Fraction is none of pydantic's own types; _amount has checked it by then.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)


class AggregatorTable(_Table):
    """Whose requests are answered."""

    public_keys: Annotated[tuple[HexDigits, ...], Several]


class PopulationTable(_Table):
    """What all tasks of the same patients may spend together."""

    eps: Eps | None = None
    rho: Rho | None = None
    delta: Delta
    period_days: Days | None = None

    @model_validator(mode="after")
    def _has_one_budget(self) -> "PopulationTable":
        _require_one(self, "eps", "rho")
        return self

    @property
    def limit(self) -> Fraction:
        """The budget as ρ."""
        return _rho(self.rho, self.eps, self.delta)


class CohortTable(_Table):
    """Which sites pool a task, and how many of them may work against this one."""

    members: dict[Name, HexDigits]
    colluders: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _hides_its_members(self) -> "CohortTable":
        n = len(self.members)
        if n < SMALLEST_COHORT:
            raise ValueError(
                f"members are {n} sites, expected at least {SMALLEST_COHORT}, this one among them"
            )
        if len(set(self.members.values())) < n:
            raise ValueError("members has the same key twice, expected one for every site")
        if self.colluders is not None and self.colluders > graph.most_colluders(n):
            raise ValueError(
                f"colluders is {self.colluders}, expected at most {graph.most_colluders(n)} of {n} members"
            )
        return self

    @property
    def assumed_colluders(self) -> int:
        """How many members are assumed to work together with the aggregator."""
        return graph.most_colluders(len(self.members)) if self.colluders is None else self.colluders


class TransferTable(_Table):
    """What transfer experiments may bring to the site."""

    networks: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Several] | None = None
    model_sources: Literal["any"] | dict[Name, HexDigits] = "any"


class TaskTransferTable(_Table):
    """What may leave of a task in transfer experiments."""

    metrics_because: str | None = None
    measured_images: Annotated[int, Field(ge=1, le=10**9)] = 20
    steps: Annotated[int, Field(ge=1, le=10**6)] = 1000
    models: Literal["exact", "private"] | None = None
    models_because: str | None = None
    models_to: Annotated[tuple[str, ...], BeforeValidator(_sites)] | None = None
    summed_in: Name | None = None
    summed_because: str | None = None

    @model_validator(mode="after")
    def _a_sum_has_a_cohort_and_a_reason(self) -> "TaskTransferTable":
        if (self.summed_in is None) != (self.summed_because is None):
            given, missing = ("summed_because", "summed_in")[:: 1 if self.summed_in is None else -1]
            raise ValueError(f"{missing} is missing, expected since {given} is given")
        if self.summed_in is not None and self.metrics_because is None:
            raise ValueError("metrics_because is missing, expected since summed_in is given")
        return self

    @model_validator(mode="after")
    def _reasons_are_words(self) -> "TaskTransferTable":
        for key in ("metrics_because", "models_because", "summed_because"):
            words = getattr(self, key)
            if words is not None and not words.strip():
                raise ValueError(f"{key} is empty, expected words that say why, or no such key")
        if self.models is not None and self.metrics_because is None:
            raise ValueError("metrics_because is missing, expected since models is given")
        return self

    @model_validator(mode="after")
    def _models_are_complete(self) -> "TaskTransferTable":
        if self.models == "exact" and self.models_because is None:
            raise ValueError(
                'models_because is missing, expected words that say why, since models is "exact"'
            )
        if self.models != "exact" and self.models_because is not None:
            raise ValueError('models_because is given, but models is not "exact": remove one')
        if self.models is not None and self.models_to is None:
            raise ValueError('models_to is missing, expected "any" or names of sites, since models is given')
        if self.models is None and self.models_to is not None:
            raise ValueError("models_to is given, but models is not: remove one or add the other")
        return self


class TaskTable(_Table):
    """What a task may be released as, and at which price."""

    modes: Annotated[tuple[Mode, ...], Several]
    open_because: str | None = None
    cohort: str | None = None
    exact_sum_because: str | None = None
    population: str | None = None
    eps: Eps | None = None
    rho: Rho | None = None
    release_eps: Eps | None = None
    release_rho: Rho | None = None
    delta: Delta | None = None
    period_days: Days | None = None
    images_per_patient: Annotated[int, Field(ge=1, le=MAX_IMAGES_PER_PATIENT)] | None = None
    minimum_patients: Annotated[int, Field(ge=1)] | None = None
    spaces: Annotated[tuple[str, ...], BeforeValidator(_space_ids)] | None = None
    sketches: Annotated[tuple[SketchKind, ...], Several] | None = None
    refresh: Literal["never", "new-patients", "whole"] | None = None
    refresh_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    levels: Annotated[int, Field(ge=1, le=4)] | None = None
    transfer: TaskTransferTable | None = None

    @property
    def private(self) -> bool:
        """Whether the task may be released with noise, by itself."""
        return TrustMode.PRIVATE in self.modes

    @property
    def pooled(self) -> bool:
        """Whether the task may be summed with those of other sites."""
        return TrustMode.POOLED in self.modes

    @property
    def with_noise(self) -> bool:
        """Whether the task may be released with noise, by itself or in a sum."""
        return self.private or (self.pooled and self.exact_sum_because is None)

    @model_validator(mode="after")
    def _open_has_a_reason(self) -> "TaskTable":
        self._require_words("open_because", TrustMode.OPEN)
        if TrustMode.OPEN in self.modes and self.open_because is None:
            raise ValueError('open_because is missing, expected words that say why, since modes has "open"')
        return self

    @model_validator(mode="after")
    def _public_patients_need_no_protection(self) -> "TaskTable":
        for mode in (TrustMode.PRIVATE, TrustMode.POOLED):
            if mode in self.modes and TrustMode.OPEN in self.modes:
                undone = "noise" if mode is TrustMode.PRIVATE else "sum"
                raise ValueError(
                    f'modes has both "open" and "{mode.value}", expected one of them: '
                    f"an exact release undoes the {undone}"
                )
        return self

    @model_validator(mode="after")
    def _a_sum_has_a_cohort(self) -> "TaskTable":
        if self.pooled and self.cohort is None:
            raise ValueError('cohort is missing, expected since modes has "pooled"')
        if not self.pooled and self.cohort is not None:
            raise ValueError('cohort is given, but modes has no "pooled": remove one or add the other')
        self._require_words("exact_sum_because", TrustMode.POOLED)
        if self.private and self.exact_sum_because is not None:
            raise ValueError(
                'exact_sum_because is given, but modes has "private": an exact sum undoes the noise'
            )
        if self.exact_sum_because is not None and self.spaces == (ANY,):
            raise ValueError(
                'spaces is "any", expected ids where exact_sum_because is given: sums in two spaces that '
                "hardly differ would tell which images came or went between them"
            )
        return self

    @model_validator(mode="after")
    def _noise_is_complete(self) -> "TaskTable":
        if not self.with_noise:
            return self
        why = (
            'modes has "private"' if self.private else 'modes has "pooled" and there is no exact_sum_because'
        )
        for key in _FOR_NOISE:
            if getattr(self, key) is None:
                raise ValueError(f"{key} is missing, expected since {why}")
        _require_one(self, "eps", "rho")
        _require_one(self, "release_eps", "release_rho")
        if self.private:
            self._check_refresh()
        return self

    @model_validator(mode="after")
    def _budgets_are_for_noise(self) -> "TaskTable":
        if not self.with_noise:
            why = 'modes has no "private"' if self.exact_sum_because is None else "exact sums have no noise"
            self._refuse(_ONLY_WITH_NOISE, why)
        if not self.private:
            self._refuse(_ONLY_PRIVATE, 'modes has no "private"')
        return self

    @model_validator(mode="after")
    def _models_keep_to_the_modes(self) -> "TaskTable":
        models = None if self.transfer is None else self.transfer.models
        if models == "private" and not self.with_noise:
            raise ValueError(
                'transfer.models is "private", but no budget pays for it: expected "private" in modes'
            )
        if models == "exact" and self.with_noise:
            raise ValueError(
                'transfer.models is "exact", but the task is released with noise, which exact weights undo: '
                'expected "private"'
            )
        if self.with_noise and self.transfer is not None and self.transfer.summed_in is not None:
            raise ValueError(
                "transfer.summed_in is given, but the task is released with noise, which exact sums undo: "
                "remove one"
            )
        return self

    def _refuse(self, keys: tuple[str, ...], why: str) -> None:
        given = [key for key in keys if getattr(self, key) is not None]
        if given:
            raise ValueError(f"{given[0]} is given, but {why}: remove one or add the other")

    def _require_words(self, key: str, mode: TrustMode) -> None:
        """Raise where a reason for exact numbers is empty, or there is nothing that it would be for."""
        words = getattr(self, key)
        if words is not None and mode not in self.modes:
            raise ValueError(f'{key} is given, but modes has no "{mode.value}": remove one or add the other')
        if words is not None and not words.strip():
            raise ValueError(f'{key} is missing, expected words that say why, since modes has "{mode.value}"')

    def _check_refresh(self) -> None:
        again = self.refresh in ("new-patients", "whole")
        if again and self.refresh_days is None:
            raise ValueError(
                f'refresh_days is missing, expected since refresh is "{self.refresh}": '
                "what stands is replaced when it is that old, whether or not the data have changed"
            )
        if not again and self.refresh_days is not None:
            raise ValueError('refresh_days is given, but refresh is "never": remove one')

    def limit(self, delta: float) -> Fraction:
        """Return the task's own budget as ρ.

        Args:
            delta: The δ that its ε is at.
        """
        return _rho(self.rho, self.eps, delta)

    def release_limit(self, delta: float) -> Fraction:
        """Return what one release may spend, as ρ.

        Args:
            delta: The δ that its ε is at.
        """
        return _rho(self.release_rho, self.release_eps, delta)


def _require_one(table: BaseModel, first: str, second: str) -> None:
    given = [key for key in (first, second) if getattr(table, key) is not None]
    if len(given) != 1:
        found = f"both {first} and {second} are given" if given else f"neither {first} nor {second} is given"
        raise ValueError(f"{found}, expected one of them")


def _rho(rho: Fraction | None, eps: float | None, delta: float) -> Fraction:
    if rho is not None:
        return rho
    if eps is None:
        raise ValueError("neither eps nor rho is given, expected one of them")
    return rho_for(eps, delta)
