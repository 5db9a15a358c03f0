"""What the recommender says about one source of one target."""

from dataclasses import dataclass

NO_TRANSFER = "ImageNet (no site)"
"""Always ranked: train from ImageNet weights without any source; its gain is zero by definition."""


@dataclass(frozen=True)
class Forecast:
    """Expected result of using a source for a target.

    Args:
        target: Name of the target.
        source: Name of the source, or ``NO_TRANSFER``.
        rank: 1 for the first choice, ``NO_TRANSFER`` included.
        gain: Expected gain of the metric over no transfer.
        low: Lower end of the interval.
        high: Upper end of the interval.
        level: Probability that the interval holds the gain.
        chance_of_harm: Probability of a gain below zero.
        standing: Predicted normal score among the target's sources.
        deviation: Standard deviation of that prediction.
        reasons: Why, in words, strongest first.
    """

    target: str
    source: str
    rank: int
    gain: float
    low: float
    high: float
    level: float
    chance_of_harm: float
    standing: float
    deviation: float
    reasons: tuple[str, ...]
