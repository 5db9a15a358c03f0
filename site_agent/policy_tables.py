"""The tables of a policy file, and the contradictions that one table alone can hold."""

import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from federation.privacy.accounting import rho_for
from federation.privacy.weight import MAX_IMAGES_PER_PATIENT
from federation.sketches.kinds import KINDS
from federation.trust import TrustMode

ANY = "any"
"""Every space is allowed."""

_AMOUNT = re.compile(r"[0-9]{1,18}/[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{1,18})?(e-?[0-9]{1,2})?")
_HEX = re.compile(r"[0-9a-f]{64}")


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


def _sketch_kind(name: str) -> str:
    if name not in KINDS:
        raise ValueError(f'"{name[:70]}" is no kind of sketch, expected some of {", ".join(sorted(KINDS))}')
    return name


def _working_mode(mode: TrustMode) -> TrustMode:
    if mode is TrustMode.POOLED:
        raise ValueError('"pooled" is not available yet, expected "listen", "private" or "open"')
    return mode


def _space_ids(value: object) -> tuple[str, ...]:
    if value == ANY:
        return (ANY,)
    if not isinstance(value, list | tuple) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError('expected "any" or a list of at least one space id')
    return tuple(_digits(item) for item in value)


Eps = Annotated[float, Field(gt=0, le=1e9)]
Delta = Annotated[float, Field(gt=0, lt=1)]
Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rho = Annotated[Fraction, BeforeValidator(_amount)]
HexDigits = Annotated[str, AfterValidator(_digits)]
Mode = Annotated[TrustMode, Field(strict=False), AfterValidator(_working_mode)]
SketchKind = Annotated[str, AfterValidator(_sketch_kind)]
Several = Field(strict=False, min_length=1)

_FOR_PRIVATE = (
    "population",
    "images_per_patient",
    "minimum_patients",
    "spaces",
    "sketches",
)
_ONLY_PRIVATE = (
    *("population", "eps", "rho", "release_eps", "release_rho", "delta", "period_days"),
    *("images_per_patient", "minimum_patients", "refresh", "refresh_days", "levels"),
)


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


class TaskTable(_Table):
    """What a task may be released as, and at which price."""

    modes: Annotated[tuple[Mode, ...], Several]
    open_because: str | None = None
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

    @property
    def private(self) -> bool:
        """Whether the task may be released with noise."""
        return TrustMode.PRIVATE in self.modes

    @model_validator(mode="after")
    def _open_has_a_reason(self) -> "TaskTable":
        words = (self.open_because or "").strip()
        if TrustMode.OPEN in self.modes and not words:
            raise ValueError('open_because is missing, expected words that say why, since modes has "open"')
        if TrustMode.OPEN not in self.modes and self.open_because is not None:
            raise ValueError('open_because is given, but modes has no "open": remove one or add the other')
        return self

    @model_validator(mode="after")
    def _public_patients_need_no_protection(self) -> "TaskTable":
        if self.private and TrustMode.OPEN in self.modes:
            raise ValueError(
                'modes has both "open" and "private", expected one of them: an exact release undoes the noise'
            )
        return self

    @model_validator(mode="after")
    def _private_is_complete(self) -> "TaskTable":
        if not self.private:
            return self
        for key in _FOR_PRIVATE:
            if getattr(self, key) is None:
                raise ValueError(f'{key} is missing, expected since modes has "private"')
        _require_one(self, "eps", "rho")
        _require_one(self, "release_eps", "release_rho")
        self._check_refresh()
        return self

    @model_validator(mode="after")
    def _budgets_are_for_private(self) -> "TaskTable":
        given = [key for key in _ONLY_PRIVATE if getattr(self, key) is not None]
        if given and not self.private:
            raise ValueError(f'{given[0]} is given, but modes has no "private": remove one or add the other')
        return self

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
