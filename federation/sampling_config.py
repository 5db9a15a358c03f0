"""The part of a configuration file that says how many images a fingerprint uses."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from federation.errors import ConfigError
from federation.sampling import MIN_TOLERANCE, SamplingPlan

DEFAULT_TOLERANCE = 0.015  # benchmarks/ranking_stability.py
DEFAULT_CEILING = 10_000


class SamplingConfig(BaseModel):
    """Budget of images per task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: Annotated[int, Field(ge=1, strict=True)] | Literal["adaptive", "all"] = Field(
        "adaptive", description="images drawn per task"
    )
    tolerance: float | None = Field(
        None,
        ge=MIN_TOLERANCE,
        lt=0.5,
        description=f"error at which adaptive drawing stops; {DEFAULT_TOLERANCE}",
    )
    ceiling: int | None = Field(
        None, ge=1, description=f"most images per task when adaptive; {DEFAULT_CEILING}"
    )
    replacement: bool = Field(False, description="draw with replacement, as published")
    seed: int = Field(0, ge=0, description="seed of the draw")

    @model_validator(mode="after")
    def _plan_is_possible(self) -> "SamplingConfig":
        for key in ("tolerance", "ceiling"):
            if self.samples != "adaptive" and getattr(self, key) is not None:
                raise ConfigError(
                    f"{key} has no effect where samples is {self.samples!r}",
                    remedy=f'remove it, or set samples = "adaptive" (found {key} = {getattr(self, key)})',
                )
        _ = self.sampling
        return self

    @property
    def sampling(self) -> SamplingPlan:
        """The budget as a plan."""
        if self.samples == "adaptive":
            tolerance = self.tolerance or DEFAULT_TOLERANCE
            return SamplingPlan(self.ceiling or DEFAULT_CEILING, self.replacement, self.seed, tolerance)
        n_images = None if self.samples == "all" else self.samples
        return SamplingPlan(n_images, self.replacement, self.seed)
