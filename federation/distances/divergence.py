"""Distances that compare frequencies bin by bin through logarithms (natural, so in nats)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from federation.distances.base import Matrix
from federation.distances.bilinear import BilinearDistance
from federation.distances.histogram import Ask
from federation.distances.pairwise import PairwiseDistance
from federation.distances.side import Side
from federation.distances.stack import Block, Histograms, itself, slices

Weighting = Literal["uniform", "target", "source"]

CLIP = 1e-4
_AT_ONCE = 2**16  # numbers whose logarithms are taken at a time (512 KiB)
_LONG = 2**13  # numbers from which on a vector is long
_TINY = 1e-300  # stands for an empty bin inside a logarithm: x·log(x) is then 0 to every digit


def x_log_x(h: Matrix) -> Matrix:
    """Σ h·log h; cells that are empty, or that noise made negative, add nothing."""
    positive = np.maximum(h, _TINY)
    return np.asarray(np.einsum("...b,...b->...", positive, np.log(positive)))


def log_partition(h: Matrix) -> Matrix:
    """Log Σ exp h, what normalises the softmax of frequencies."""
    return np.log(_row_sums(np.exp(h)))


def clipped_logarithms(h: Matrix, out: Matrix) -> None:
    """Binary logarithms, which are markedly faster than natural ones, of frequencies clipped from below."""
    clipped(h, out)
    np.log2(out, out=out)


def clipped(h: Matrix, out: Matrix) -> None:
    """Frequencies clipped from below."""
    out.fill(CLIP)  # the maximum of two arrays is several times as fast as that of an array and a number
    np.maximum(h, out, out=out)


def clipped_inverse_total(h: Matrix) -> Matrix:
    """What divides clipped frequencies so that they sum to one again."""
    return np.asarray(1.0 / _row_sums(np.maximum(h, CLIP)))


def clipped_log_total(h: Matrix) -> Matrix:
    """Logarithm of the sum of clipped frequencies."""
    return np.log(_row_sums(np.maximum(h, CLIP)))


def clipped_x_log_x(h: Matrix) -> Matrix:
    """Σ p·log p of clipped frequencies p that are divided by their sum."""
    p = np.maximum(h, CLIP)
    p /= _row_sums(p)[..., None]
    return x_log_x(p)


def half_x_log_2x(h: Matrix) -> Matrix:
    """½ Σ x·log 2x of positive frequencies x."""
    return np.asarray((x_log_x(h) + np.log(2) * _row_sums(np.maximum(h, _TINY))) / 2)


@dataclass(frozen=True, kw_only=True)
class BinnedKld(BilinearDistance):
    """Binned Kullback–Leibler divergence of Godau et al., arXiv 2412.08763 (bKLD).

    D(s→t) = Σ_f w_f KL(h_t[f] ‖ softmax_bins(h_s[f])) / Σ_f w_f. The softmax is taken over the frequencies
    themselves, all of which lie in [0, 1], so with Z(s) = Σ_bins exp(h_s) each feature contributes
    −H(h_t) − ⟨h_t, h_s⟩ + log Z(s): an inner product plus one term of each side.

    Args:
        weighting: Where feature weights come from: all equal, the softmax over features of the target's
            means, or the magnitudes of the source's means (equal to the published weights wherever
            features are non-negative; signed means would give negative weights). A source whose means are
            all zero weighs features equally.
        n_bins: Finer histograms are merged to this many bins where that is exact; others are used as they
            are.
    """

    weighting: Weighting
    n_bins: int
    source: ClassVar[Side] = Side(itself, log_partition)
    target: ClassVar[Side] = Side(itself, x_log_x)

    def _fill(self, values: Matrix, sources: Histograms, targets: Histograms) -> None:
        super()._fill(values, sources.coarsened_to(self.n_bins), targets.coarsened_to(self.n_bins))

    def asks(self, few: Block, *, both_ways: bool) -> dict[object, Ask]:
        """Return the inner products that are needed, unless bins are merged first."""
        whole = few.coarsened_to(self.n_bins) is few
        return super().asks(few, both_ways=both_ways) if whole else {}

    def _weights(self, sources: Histograms, targets: Histograms) -> tuple[Matrix, Matrix]:
        uniform = super()._weights(sources, targets)
        if self.weighting == "target":
            return uniform[0], _softmax(targets.means())
        if self.weighting == "source":
            return _shares(np.abs(sources.means())), np.ones_like(uniform[1])
        return uniform


@dataclass(frozen=True, kw_only=True)
class ClippedKld(BilinearDistance):
    """KL(target ‖ source) of frequencies that are clipped at 1/10,000 from below and renormalised.

    The published clipped variant (suffix ``-C`` of arXiv 2412.08763) leaves out the renormalisation; its
    rows then sum to more than one, and D can be negative.
    """

    factor: ClassVar[float] = float(np.log(2))
    source: ClassVar[Side] = Side(clipped_logarithms, clipped_log_total)
    target: ClassVar[Side] = Side(clipped, clipped_x_log_x, clipped_inverse_total)


@dataclass(frozen=True, kw_only=True)
class JensenShannon(PairwiseDistance):
    """Jensen–Shannon divergence (Lin 1991), at most log 2, mean over features.

    It is ½ g(h_s) + ½ g(h_t) − g(½ h_s + ½ h_t) where g(x) = Σ x log x, and the last term is
    ½ g(h_s + h_t) − ½ log 2 Σ (h_s + h_t).
    """

    side: ClassVar[Side] = Side(itself, half_x_log_2x)

    def _compare(self, left: Matrix, right: Matrix) -> Matrix:
        left = np.maximum(left, _TINY)  # then no sum is zero
        right = right if right.min() >= 0 else np.maximum(right, 0)
        values = np.zeros((len(left), len(right)))
        step = _AT_ONCE // len(right) + 1
        room = np.empty((2, len(right) * step))
        for part in slices(right.shape[1], step):
            shape = right[:, part].shape
            mixed, logarithms = (array[: math.prod(shape)].reshape(shape) for array in room)
            for ours, found in zip(left[:, part], values, strict=True):
                np.add(right[:, part], ours, out=mixed)
                np.log2(mixed, out=logarithms)
                found += _dots(mixed, logarithms)
        values *= -np.log(2) / 2
        return values


def _dots(x: Matrix, y: Matrix) -> Matrix:
    """Inner products of rows; BLAS is faster for short ones, and starts threads of its own for long ones."""
    if x.shape[1] > _LONG:
        return np.asarray(np.einsum("tk,tk->t", x, y))
    return np.asarray((x[:, None, :] @ y[:, :, None]).ravel())


def _row_sums(x: Matrix) -> Matrix:
    return np.asarray(np.einsum("...b->...", x))


def _softmax(x: Matrix) -> Matrix:
    return _shares(np.exp(x - x.max(axis=1, keepdims=True)))


def _shares(x: Matrix) -> Matrix:
    """Divide rows by their sums; a row of zeros becomes equal shares."""
    x = np.where(x.any(axis=1, keepdims=True), x, 1.0)
    return np.asarray(x / x.sum(axis=1, keepdims=True))


_BKLD_NOISE = (
    "source noise enters almost linearly; target noise shifts a whole column and tilts it through ⟨h_t, h_s⟩"
)
_BKLD = "KL(h_t ‖ softmax_bins(h_s)) = −H(h_t) − ⟨h_t, h_s⟩ + log Σ_bins exp(h_s)"
_GODAU = "Godau et al., arXiv 2412.08763"

BKLD_SMALL = BinnedKld(
    name="bkld-small",
    formula=f"{_BKLD}; 100 bins, feature weights softmax(target means)",
    origin=f"{_GODAU}, KLD-PP:NS-W:TS-100-BINS",
    symmetric=False,
    zero_self=False,
    non_negative=True,
    ordered_bins=False,
    noise=_BKLD_NOISE + "; target means are a further noisy input",
    weighting="target",
    n_bins=100,
)
BKLD_LARGE = BinnedKld(
    name="bkld-large",
    formula=f"{_BKLD}; 1,000 bins, equal feature weights",
    origin=f"{_GODAU}, KLD-PP:NS-1000-BINS",
    symmetric=False,
    zero_self=False,
    non_negative=True,
    ordered_bins=False,
    noise=_BKLD_NOISE,
    weighting="uniform",
    n_bins=1000,
)
BKLD_LARGE_SOURCE = BinnedKld(
    name="bkld-large-source",
    formula=f"{_BKLD}; 1,000 bins, feature weights |source means|",
    origin=f"{_GODAU} version 1, KLD-PP:NS-W:SN-1000-BINS",
    symmetric=False,
    zero_self=False,
    non_negative=True,
    ordered_bins=False,
    noise=_BKLD_NOISE + "; source means are a further noisy input",
    weighting="source",
    n_bins=1000,
)
JS = JensenShannon(
    name="js",
    formula="½ KL(h_s ‖ m) + ½ KL(h_t ‖ m) with m = (h_s + h_t)/2; mean over features, at most log 2",
    origin="Lin 1991",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    ordered_bins=False,
    noise="biased upwards, most where bins are many; cells that noise made negative count as empty",
)
KLD_CLIPPED = ClippedKld(
    name="kld-clipped",
    formula="KL(p_t ‖ p_s) with p = h clipped at 1/10,000 from below and renormalised; mean over features",
    origin=f"{_GODAU}, clipped variant (-C), there not renormalised",
    symmetric=False,
    zero_self=True,
    non_negative=True,
    ordered_bins=False,
    noise="biased: noise in bins near the clip level is amplified by the logarithm",
)
