"""Distances for which bins lie on a line: they compare cumulative curves."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from federation.distances.base import Matrix
from federation.distances.pairwise import PairwiseDistance
from federation.distances.side import Side
from federation.distances.squared import CumulativeNoise, SquaredDistance, energy
from federation.distances.stack import cumulative


def cumulative_energy(h: Matrix) -> Matrix:
    """Σ C² of cumulative frequencies C."""
    x = np.empty_like(h)
    cumulative(h, x)
    return energy(x)


@dataclass(frozen=True, kw_only=True)
class EarthMover(PairwiseDistance):
    """Earth mover's distance: Σ_bins |C_s − C_t| with cumulative frequencies C (Ramtoula et al. 2023, VDNA).

    One unit is one bin: moving all images of a feature to the next bin costs 1.
    """

    side: ClassVar[Side] = Side(cumulative)

    def _compare(self, left: Matrix, right: Matrix) -> Matrix:
        from scipy.spatial.distance import cdist  # slow to import

        return np.asarray(cdist(left, right, "cityblock"))


@dataclass(frozen=True, kw_only=True)
class Cramer(SquaredDistance):
    """Cramér distance: Σ_bins (C_s − C_t)², C the cumulative frequencies; squared, in units of bins."""

    source: ClassVar[Side] = Side(cumulative, cumulative_energy)
    target: ClassVar[Side] = source


EMD = EarthMover(
    name="emd",
    formula="Σ_bins |C_s − C_t|, C = cumulative h; in bins, mean over features",
    origin="Ramtoula et al., CVPR 2023 (VDNA), on the bins of the space",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    ordered_bins=True,
    noise="biased upwards: cumulative noise adds up along the bins",
)
CRAMER = Cramer(
    name="cramer",
    formula="Σ_bins (C_s − C_t)², C = cumulative h; in bins, mean over features, no square root",
    origin="Székely 2003; Bellemare et al. 2017",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    ordered_bins=True,
    noise="what it adds on average is subtracted, which leaves the order of neighbours unbiased",
    noise_model=CumulativeNoise(),
)
