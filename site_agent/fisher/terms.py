"""What a private head needs to know of a task."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class HeadTerms:
    """What a private head needs to know of a task.

    Args:
        n_classes: Number of classes in the listing.
        weight: How often the images of one patient count together, at most.
        rho: What the fit may spend; 0 fits without noise, for sketches that are not released with noise.
    """

    n_classes: int
    weight: int = 1
    rho: Fraction = Fraction(0)
