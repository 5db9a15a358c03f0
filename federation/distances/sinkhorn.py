"""Entropic optimal transport between the histograms of each feature."""

from dataclasses import dataclass

import numpy as np

from federation.distances.base import Matrix
from federation.distances.histogram import HistogramDistance
from federation.distances.stack import HistogramStack, slices
from federation.distances.threads import for_each

FEATURES = 32  # features whose frequencies are held at a time
PRODUCT = 2**18  # multiplications below which a matrix product stays on its own core
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

    def _fill(self, values: Matrix, sources: HistogramStack, targets: HistogramStack) -> None:
        merged = _largest_divisor(sources.n_bins, self.max_bins)
        bins_per_merged = sources.n_bins // merged
        mirrored = sources.is_same_as(targets)
        ours, theirs = sources.coarsened_to(merged), targets.coarsened_to(merged)
        for features in slices(sources.n_features, FEATURES):
            left = _shares(ours.frequencies(slice(0, len(ours)), features))
            right = left if mirrored else _shares(theirs.frequencies(slice(0, len(theirs)), features))
            self._add(values, left, right, mirrored=mirrored)
        values *= bins_per_merged / sources.n_features
        if mirrored:
            lower = np.tril_indices(len(values), -1)
            values[lower] = values.T[lower]

    def _add(self, values: Matrix, left: Matrix, right: Matrix, *, mirrored: bool) -> None:
        """Add Σ_f S of float64 [sources, f, b] and [targets, f, b] to ``values``."""
        own_left = self._own_costs(left)
        own_right = own_left if mirrored else self._own_costs(right)

        def compare(tile: tuple[int, slice]) -> None:
            row, columns = tile
            b = right[columns]
            costs = self._costs(np.broadcast_to(left[row], b.shape), b)
            values[row, columns] += costs - (own_left[row] + own_right[columns]) / 2

        for_each(_tiles(left, right, upper=mirrored), compare)

    def _own_costs(self, shares: Matrix) -> Matrix:
        """Return float64 [tasks]: Σ_f W_ε(h, h)."""
        found = np.empty(len(shares))

        def compare(part: slice) -> None:
            found[part] = self._costs(shares[part], shares[part])

        for_each(list(slices(len(shares), _tasks_per_problem(shares))), compare)
        return found

    def _costs(self, a: Matrix, b: Matrix) -> Matrix:
        """Return float64 [pairs]: Σ_f W_ε of float64 [pairs, f, n_bins]."""
        n_bins = a.shape[-1]
        flat = entropic_costs(
            a.reshape(-1, n_bins), b.reshape(-1, n_bins), self.blur * n_bins, self.tolerance
        )
        return np.asarray(flat.reshape(a.shape[:2]).sum(axis=1))


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
        u = a / (v @ kernel)
        v = b / (u @ kernel)
        if iteration % _EVERY:
            continue
        error = np.abs(u * (v @ kernel) - a).sum(axis=1)
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


def _tasks_per_problem(shares: Matrix) -> int:
    return max(1, PRODUCT // (int(shares.shape[1]) * int(shares.shape[2]) ** 2))


def _tiles(left: Matrix, right: Matrix, *, upper: bool) -> list[tuple[int, slice]]:
    return [
        (row, slice(max(columns.start, row), columns.stop) if upper else columns)
        for row in range(len(left))
        for columns in slices(len(right), _tasks_per_problem(right))
        if not upper or columns.stop > row
    ]


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
