"""Tests on tables of tasks by tasks, where neither pairs nor tasks of a pair are independent draws.

Permutations exchange whole tasks, rows and columns together (Mantel 1967; Krackhardt 1988, QAP), so that what
a task does as a source and as a target stays together. Intervals resample whole targets or tasks.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from aggregator.study import Floats, Mask
from aggregator.validation.metrics import spearman

N_PERMUTATIONS = 2000
_N_RESAMPLES = 500
_LEVEL = 0.95
Orders = npt.NDArray[np.int64]


def orders(n_tasks: int, seed: int = 0) -> Orders:
    """Return the given order of tasks and random ones, int64 [1 + n_permutations, n_tasks]."""
    generator = np.random.default_rng(seed)
    tasks = np.arange(n_tasks)
    return np.stack([tasks, *(generator.permutation(tasks) for _ in range(N_PERMUTATIONS))])


def p_value(statistics: Floats) -> float:
    """Return the two-sided p-value of the first of many statistics, the others being permuted.

    The share of all, the observed one included, that lie as far from the permuted mean (Phipson & Smyth
    2010).

    Args:
        statistics: float64 [1 + n_permutations], NaN where a permutation leaves nothing to compare.
    """
    if not np.isfinite(statistics[0]):
        return float("nan")
    known = statistics[np.isfinite(statistics)]
    if len(known) < 2:
        return float("nan")
    far = np.abs(known - known[1:].mean())
    return float((far >= far[0] - 1e-12).mean())


def holm(p_values: list[float]) -> list[float]:
    """Return p-values that hold for all tests together (Holm 1979); NaN stays NaN."""
    known = [i for i, p in enumerate(p_values) if np.isfinite(p)]
    adjusted, highest = list(p_values), 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(known) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def contrast_by_target(values: Floats, alike: Mask, measured: Mask, permuted: Orders) -> Floats:
    """Return mean of values of alike sources less that of the others, per permutation and target.

    Args:
        values: float64 [n_tasks, n_tasks], rows are sources and columns are targets.
        alike: bool [n_tasks, n_tasks], which pairs share a group.
        measured: bool [n_tasks, n_tasks], which pairs count.
        permuted: int64 [n_orders, n_tasks]: groups are those of the tasks in this order.

    Returns:
        float64 [n_orders, n_tasks], NaN at targets without sources of both kinds.
    """
    found = np.full((len(permuted), len(values)), np.nan)
    for target in range(len(values)):
        sources = np.flatnonzero(measured[:, target])
        if len(sources) >= 2:
            same = alike[permuted[:, sources], permuted[:, target][:, None]]
            found[:, target] = _difference(same, values[sources, target])
    return found


def correlation_by_target(affinity: Floats, values: Floats, measured: Mask, permuted: Orders) -> Floats:
    """Return Spearman's correlation among the sources of every target, per permutation.

    Args:
        affinity: float64 [n_tasks, n_tasks], higher is nearer; NaN stands last.
        values: float64 [n_tasks, n_tasks].
        measured: bool [n_tasks, n_tasks], which pairs count.
        permuted: int64 [n_orders, n_tasks]: affinities are those of the tasks in this order.

    Returns:
        float64 [n_orders, n_tasks], NaN at targets with fewer than three sources.
    """
    known = np.where(np.isfinite(affinity), affinity, -np.inf)
    found = np.full((len(permuted), len(values)), np.nan)
    for target in range(len(values)):
        sources = np.flatnonzero(measured[:, target])
        if len(sources) >= 3:
            near = known[permuted[:, sources], permuted[:, target][:, None]]
            found[:, target] = spearman(near, values[sources, target])
    return found


def mantel(first: Floats, second: Floats, permuted: Orders) -> Floats:
    """Return Spearman's correlation of two symmetric tables over pairs of tasks, per permutation.

    Args:
        first: float64 [n_tasks, n_tasks].
        second: float64 [n_tasks, n_tasks], taken in the permuted orders; NaN counts as the lowest.
        permuted: int64 [n_orders, n_tasks].
    """
    a, b = np.triu_indices(len(first), 1)
    known = np.isfinite(first[a, b])
    a, b = a[known], b[known]
    if len(a) < 3:
        return np.full(len(permuted), np.nan)
    known_second = np.where(np.isfinite(second), second, -np.inf)
    return spearman(known_second[permuted[:, a], permuted[:, b]], first[a, b])


def interval_over_clusters(n_clusters: int, statistic: Callable[[Orders], float], seed: int = 0) -> Floats:
    """Return the 95 % percentile interval of a statistic when whole clusters are drawn again.

    Args:
        n_clusters: How many there are.
        statistic: Takes int64 [n_clusters] of drawn clusters.
        seed: Seed of the draws.

    Returns:
        float64 [2]; NaN where fewer than two clusters exist or too few draws give a number.
    """
    if n_clusters < 2:
        return np.full(2, np.nan)
    generator = np.random.default_rng(seed)
    drawn = generator.integers(n_clusters, size=(_N_RESAMPLES, n_clusters))
    found = np.array([statistic(each) for each in drawn])
    found = found[np.isfinite(found)]
    if 2 * len(found) < _N_RESAMPLES:
        return np.full(2, np.nan)
    return np.asarray(np.quantile(found, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]))


def pooled_correlation(distance: Floats, values: Floats) -> float:
    """Return Spearman's correlation over pairs, float64 [n_pairs] each; NaN for fewer than three."""
    known = np.isfinite(distance) & np.isfinite(values)
    if known.sum() < 3:
        return float("nan")
    return float(spearman(distance[known][None], values[known])[0])


def mean_over_targets(by_target: Floats) -> Floats:
    """Return the mean over the targets that are not NaN, float64 [n_orders]; NaN where there is none."""
    known = np.isfinite(by_target)
    total, count = np.where(known, by_target, 0.0).sum(axis=1), known.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _difference(same: Mask, values: Floats) -> Floats:
    """Mean where ``same`` [n_orders, n_sources], less the mean elsewhere; NaN where either is empty."""
    inside, outside = same.sum(axis=1), (~same).sum(axis=1)
    known = (inside > 0) & (outside > 0)
    means = same @ values / np.maximum(inside, 1), ~same @ values / np.maximum(outside, 1)
    return np.asarray(np.where(known, means[0] - means[1], np.nan))
