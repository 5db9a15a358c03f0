"""Distances that compare frequencies bin by bin: by angle, and by what does not overlap."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from federation.distances.base import Matrix
from federation.distances.bilinear import BilinearDistance
from federation.distances.pairwise import PairwiseDistance
from federation.distances.side import Side
from federation.distances.squared import energy
from federation.distances.stack import itself


def inverse_length(h: Matrix) -> Matrix:
    """What makes frequencies a vector of length one."""
    return np.asarray(1.0 / np.sqrt(energy(h)))


def one(h: Matrix) -> Matrix:
    """1 for every histogram."""
    return np.ones(h.shape[:-1])


@dataclass(frozen=True, kw_only=True)
class Cosine(BilinearDistance):
    """1 − cos of the angle between the frequencies of each feature, mean over features."""

    source: ClassVar[Side] = Side(itself, one, inverse_length)
    target: ClassVar[Side] = Side(itself, None, inverse_length)


@dataclass(frozen=True, kw_only=True)
class AbsoluteDifference(PairwiseDistance):
    """Σ_bins |h_s − h_t|, twice the total variation: 2 (1 − overlap), mean over features."""

    side: ClassVar[Side] = Side(itself)

    def _compare(self, left: Matrix, right: Matrix) -> Matrix:
        from scipy.spatial.distance import cdist  # slow to import

        return np.asarray(cdist(left, right, "cityblock"))


COSINE = Cosine(
    name="cosine",
    formula="1 − ⟨h_s, h_t⟩ / (‖h_s‖ ‖h_t‖); mean over features",
    origin="Godau et al., arXiv 2412.08763, COS-PP:NN-100-BINS",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    ordered_bins=False,
    noise="biased upwards: noise lengthens both vectors and leaves their product as it is",
)
L1 = AbsoluteDifference(
    name="l1",
    formula="Σ_bins |h_s − h_t|, twice the total variation; mean over features, at most 2",
    origin="total variation distance",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    ordered_bins=False,
    noise="biased upwards, most where bins are many",
)
