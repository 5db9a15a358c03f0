"""Entropic optimal transport between the histograms of each feature."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from federation.distances.base import Matrix
from federation.distances.histogram import HistogramDistance
from federation.distances.stack import Histograms, slices
from federation.threads import WORKERS, for_each

PROBLEMS = 2**15  # pairs of histograms that are compared at a time: 6 MiB per array
PRODUCT = 2**18  # multiplications below which a matrix product stays on its own core
Indices: TypeAlias = npt.NDArray[np.int64]

_EVERY = 10  # iterations between two looks at the marginals
_MAX_ITERATIONS = 20_000


@dataclass(frozen=True, kw_only=True)
class Sinkhorn(HistogramDistance):
    """Debiased Sinkhorn divergence of each feature's histograms (Feydy et al. 2019), mean over features.

    S(s, t) = W_ε(h_s, h_t) − ½ W_ε(h_s, h_s) − ½ W_ε(h_t, h_t) with the entropic cost
    W_ε(a, b) = min_P Σ P|i − j| + ε KL(P ‖ a⊗b), i and j in bins. As ε → 0 it becomes the earth mover's
    distance; the kernel exp(−|i−j|/ε) is positive definite, so S ≥ 0, and S = 0 for equal histograms alone.

    Bins are first merged to the largest number of at most ``max_bins`` that is an exact union of those at
    hand (100 and 1,000 to 25), because every iteration costs the square of it; a prime number stays and is
    slow. ε is a share of the range, so that no kernel value underflows. Iterations end per feature and pair
    once the marginal is off by at most ``tolerance`` (a share of all images) or after 20,000; the value is
    then off by about the square of that. Values are in bins of the space.

    Args:
        max_bins: Most bins that histograms are compared over.
        blur: ε as a share of the number of bins.
        tolerance: Largest sum of absolute errors of the marginal.
    """

    max_bins: int
    blur: float
    tolerance: float

    def _fill(self, values: Matrix, sources: Histograms, targets: Histograms) -> None:
        merged = _largest_divisor(sources.n_bins, self.max_bins)
        bins_per_merged = sources.n_bins // merged
        mirrored = sources.is_same_as(targets)
        ours, theirs = sources.coarsened_to(merged), targets.coarsened_to(merged)
        pairs = np.array(
            np.triu_indices(len(ours), 1) if mirrored else np.indices(values.shape).reshape(2, -1)
        )
        totals = np.zeros(len(pairs[0]))
        for features in slices(sources.n_features, max(1, PROBLEMS // max(1, len(totals)))):
            left = _shares(ours.frequencies(slice(0, len(ours)), features))
            right = left if mirrored else _shares(theirs.frequencies(slice(0, len(theirs)), features))
            totals += self._divergences(left, right, pairs)
        values[pairs[0], pairs[1]] = totals * bins_per_merged / sources.n_features
        if mirrored:
            values += values.T

    def _divergences(self, left: Matrix, right: Matrix, pairs: Indices) -> Matrix:
        """Return float64 [pairs]: Σ_f S of tasks float64 [sources, f, b] and [targets, f, b]."""
        i, j = pairs
        own_left = self._costs(left, left)
        own_right = own_left if left is right else self._costs(right, right)
        return np.asarray(self._costs(left, right, i, j) - (own_left[i] + own_right[j]) / 2)

    def _costs(
        self, left: Matrix, right: Matrix, i: Indices | None = None, j: Indices | None = None
    ) -> Matrix:
        """Return float64 [pairs]: Σ_f W_ε of the pairs (i, j), by default of each with its like."""
        n_features, n_bins = left.shape[1:]
        i = np.arange(len(left)) if i is None else i
        j = i if j is None else j
        found, eps = np.empty(len(i)), self.blur * n_bins

        def solve(part: slice) -> None:
            a, b = (side[rows[part]].reshape(-1, n_bins) for side, rows in ((left, i), (right, j)))
            found[part] = entropic_costs(a, b, eps, self.tolerance).reshape(-1, n_features).sum(axis=1)

        for_each(list(slices(len(found), max(1, PROBLEMS // (WORKERS * n_features)))), solve)
        return found


def entropic_costs(a: Matrix, b: Matrix, eps: float, tolerance: float) -> Matrix:
    """Return W_ε of many pairs of histograms at once by Sinkhorn's iteration (Cuturi 2013).

    One iteration of all pairs is two matrix products with one kernel. A pair leaves as soon as it has
    converged, so its value does not depend on the pairs around it.

    Args:
        a: float64 [pairs, n_bins], non-negative, rows summing to one.
        b: Likewise.
        eps: Strength of the entropic term, in bins.
        tolerance: Largest sum of absolute errors of a's marginal.

    Returns:
        float64 [pairs].
    """
    bins = np.arange(a.shape[1])
    kernel = np.exp(-np.abs(np.subtract.outer(bins, bins)) / eps)
    costs, open_pairs = np.empty(len(a)), np.arange(len(a))
    v = np.ones_like(b)
    for iteration in range(1, _MAX_ITERATIONS + 1):
        u = a / _product(v, kernel)
        v = b / _product(u, kernel)
        if iteration % _EVERY:
            continue
        error = np.abs(u * _product(v, kernel) - a).sum(axis=1)
        done = (error <= tolerance) | (iteration == _MAX_ITERATIONS)
        costs[open_pairs[done]] = eps * (_dual(a[done], u[done]) + _dual(b[done], v[done]))
        if done.all():
            break
        rest = ~done
        open_pairs, a, b, v = open_pairs[rest], a[rest], b[rest], v[rest]
    return costs


def _dual(a: Matrix, u: Matrix) -> Matrix:
    """Return Σ a log(u / a) per row; empty bins add nothing."""
    filled = a > 0
    ratio = np.divide(u, a, out=np.ones_like(a), where=filled)
    return np.asarray(np.einsum("pb,pb->p", a, np.log(ratio)))


def _shares(h: Matrix) -> Matrix:
    """Count cells that noise made negative as empty."""
    positive = np.maximum(h, 0.0)
    return np.asarray(positive / positive.sum(axis=-1, keepdims=True))


def _largest_divisor(n_bins: int, limit: int) -> int:
    """Return the largest number of bins up to ``limit`` that ``n_bins`` merge to, or all of them."""
    return next((k for k in range(min(limit, n_bins), 1, -1) if n_bins % k == 0), n_bins)


def _product(x: Matrix, kernel: Matrix) -> Matrix:
    """Return ``x @ kernel`` in pieces that stay on the core of the calling thread."""
    found = np.empty_like(x)
    for rows in slices(len(x), max(1, PRODUCT // kernel.size)):
        np.matmul(x[rows], kernel, out=found[rows])
    return found


SINKHORN = Sinkhorn(
    name="sinkhorn",
    formula=(
        "W_ε(h_s, h_t) − ½ W_ε(h_s, h_s) − ½ W_ε(h_t, h_t), cost |i − j|, bins merged to at "
        "most 32, ε = 8 % of the range; in bins, mean over features; on demand"
    ),
    origin="Feydy et al., AISTATS 2019, per feature",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    ordered_bins=True,
    on_demand=True,
    noise="biased upwards, less than emd: ε and merged bins smooth the cells; negative cells count as empty",
    max_bins=32,
    blur=0.08,
    tolerance=1e-8,
)
