"""Distances that compare frequencies bin by bin: by angle, and by what does not overlap."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from federation.distances.base import Matrix
from federation.distances.histogram import BilinearDistance, PairwiseDistance


@dataclass(frozen=True, kw_only=True)
class Cosine(BilinearDistance):
    """1 − cos of the angle between the frequencies of each feature, mean over features."""

    def _source_side(self, h: Matrix) -> tuple[Matrix, Matrix]:
        return _directions(h), np.ones(h.shape[:2])

    def _target_side(self, h: Matrix) -> tuple[Matrix, Matrix]:
        return _directions(h), np.zeros(h.shape[:2])


@dataclass(frozen=True, kw_only=True)
class AbsoluteDifference(PairwiseDistance):
    """Σ_bins |h_s − h_t|, twice the total variation: 2 (1 − overlap), mean over features."""

    def _curves(self, h: Matrix) -> Matrix:
        return h

    def _compare(self, left: Matrix, right: Matrix) -> Matrix:
        return np.asarray(cdist(left, right, "cityblock"))


def _directions(h: Matrix) -> Matrix:
    return np.asarray(h / np.sqrt(np.einsum("tfb,tfb->tf", h, h))[..., None])


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
