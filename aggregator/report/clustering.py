"""Which tasks belong together: ranks, a symmetric dissimilarity, an order and a tree."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from aggregator.report.data import Matrix

# Optimal leaf ordering is cubic: a second at 300 tasks, a minute at 1,000.
_OPTIMAL_ORDER_LIMIT = 300


@dataclass(frozen=True)
class Clustering:
    """An order of tasks in which neighbours are alike, and the tree behind it.

    Args:
        order: Task indices from left to right.
        tree: SVG path of the dendrogram in a box ``len(order)`` wide and 1 high, the leaves at the
            bottom, the last merge at the top.
    """

    order: tuple[int, ...]
    tree: str


def ranks_within_target(matrix: Matrix, ties: str = "min") -> Matrix:
    """Return the rank of every source among the sources of its target.

    Args:
        matrix: float64 [T, T], rows sources, columns targets.
        ties: What equal distances share, ``"min"`` the best rank or ``"average"`` the mean rank.

    Returns:
        float64 [T, T], 1 for the nearest; NaN for the target itself and for distances that are not
        finite.
    """
    usable = np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)
    ranks = np.full(matrix.shape, np.nan)
    for target, mask in enumerate(usable.T):
        ranks[mask, target] = rankdata(matrix[mask, target], method=ties)
    return ranks


def dissimilarity(matrix: Matrix) -> Matrix:
    """Return how unlike two tasks are, whatever the direction, as a share of the most unlike pair.

    The mean of both directions, each counted above the target's distance to itself:
    ½[D(a→b) − D(b→b) + D(b→a) − D(a→a)]. For distances with D(T→T) = 0 that is the plain mean; for
    unweighted bKLD, where D(s→t) = −H(t) − ⟨t, s⟩ + log Z(s), the entropy of the target cancels and
    half the squared Euclidean distance of the histograms remains, up to log Z.

    Args:
        matrix: float64 [T, T]; pairs that are not finite in either direction count as most unlike.

    Returns:
        float64 [T, T] in [0, 1], symmetric, zero on the diagonal.
    """
    own = np.diag(matrix)
    excess = np.where(np.isfinite(matrix), matrix, np.nan) - np.where(np.isfinite(own), own, 0.0)
    both = _mean_of_known(excess, excess.T)
    np.fill_diagonal(both, 0.0)
    largest = np.nanmax(both, initial=0.0)
    scaled = both / largest if largest > 0 else both
    return np.clip(np.where(np.isnan(scaled), 1.0, scaled), 0.0, 1.0)


def cluster(unlike: Matrix) -> Clustering:
    """Return the average-linkage tree of the tasks with its leaves in optimal order.

    Leaf order: Bar-Joseph, Gifford & Jaakkola, "Fast optimal leaf ordering for hierarchical
    clustering", Bioinformatics 17 (2001).

    Args:
        unlike: float64 [T, T], symmetric, from :func:`dissimilarity`.
    """
    if len(unlike) < 2:
        return Clustering(tuple(range(len(unlike))), "")
    pairs = squareform(unlike, checks=False)
    merges = linkage(pairs, "average", optimal_ordering=len(unlike) <= _OPTIMAL_ORDER_LIMIT)
    return Clustering(tuple(int(leaf) for leaf in leaves_list(merges)), _tree_path(merges))


def _mean_of_known(a: Matrix, b: Matrix) -> Matrix:
    """Elementwise mean, or the one value where the other is NaN."""
    a, b = np.where(np.isnan(a), b, a), np.where(np.isnan(b), a, b)
    return a / 2 + b / 2


def _tree_path(merges: npt.NDArray[np.float64]) -> str:
    drawn = dendrogram(merges, no_plot=True)
    top = max(merges[-1, 2], np.finfo(float).tiny)
    # scipy places leaf i at 10·i + 5 and draws each merge as a ⊓ of four points.
    steps = [
        f"M{x[0] / 10:.4g} {1 - y[0] / top:.4f}V{1 - y[1] / top:.4f}H{x[3] / 10:.4g}V{1 - y[3] / top:.4f}"
        for x, y in zip(drawn["icoord"], drawn["dcoord"], strict=True)
    ]
    return "".join(steps)
