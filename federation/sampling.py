"""Which images of a task a fingerprint is made from."""

from dataclasses import dataclass

from federation.errors import ConfigError


@dataclass(frozen=True)
class SamplingPlan:
    """A budget of images and how it is drawn.

    Args:
        n_images: At most this many draws; None means every image once.
        replacement: Draw with replacement, as published (10,000 draws); otherwise every image is used at
            most once.
        seed: Seed of the draw and of random crops.
    """

    n_images: int | None
    replacement: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_images is not None and self.n_images < 1:
            raise ConfigError(f"sample budget is {self.n_images}", remedy="use at least 1 image")
        if self.replacement and self.n_images is None:
            raise ConfigError(
                "drawing with replacement needs a number of draws", remedy="set samples, e.g. 10000"
            )
