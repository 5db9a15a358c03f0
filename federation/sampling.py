"""Which images of a task a fingerprint is made from."""

from dataclasses import dataclass

from federation.errors import ConfigError

MIN_TOLERANCE = 1e-4
"""A sample needs at most 1 + 0.25 / tolerance² images: 25 million at this error, more than any task has."""


@dataclass(frozen=True)
class SamplingPlan:
    """A budget of images and how it is drawn.

    Args:
        n_images: At most this many draws; None means every image once.
        replacement: Draw with replacement, as published (10,000 draws); otherwise every image is used at
            most once.
        seed: Seed of the draw and of random crops.
        tolerance: Draw until the cumulative frequencies of the histogram are known this well (root mean
            square standard error, see ``federation.stopping``); None uses the whole budget.
    """

    n_images: int | None
    replacement: bool = False
    seed: int = 0
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.n_images is not None and self.n_images < 1:
            raise ConfigError(f"sample budget is {self.n_images}", remedy="use at least 1 image")
        if self.replacement and (self.n_images is None or self.tolerance is not None):
            raise ConfigError(
                "drawing with replacement needs a fixed number of draws", remedy="set samples, e.g. 10000"
            )
        if self.tolerance is not None and not MIN_TOLERANCE <= self.tolerance < 0.5:
            raise ConfigError(
                f"sampling tolerance is {self.tolerance}, expected at least {MIN_TOLERANCE} and below 0.5",
                remedy="0.015 knows cumulative frequencies to 1.5 percentage points",
            )
