"""How good a ranking of sources is for one target: the meta-metrics of Godau et al., arXiv 2412.08763.

Throughout, affinities are float64 [n_selectors, n_sources], higher is more promising; performance is
float64 [n_sources], higher is better. Sources of equal affinity stand in the order of the study's tasks
where a few are chosen, and count as tied in the correlations. A source whose affinity is NaN stands
behind all others; a selector that knows none of the sources has no scores for the target.
"""

from typing import Final

import numpy as np
from scipy.stats import rankdata

from aggregator.study import Floats, Mask

SHOTS: Final = 5
"""Improvement rates are given for one to this many tries."""

CHOSEN: Final = 3
"""How many sources the metrics ``…_at_3`` look at."""

BEST_OF: Final = tuple(f"best_of_{k}_improvement_rate" for k in range(1, SHOTS + 1))
METRICS: Final = (
    "weighted_tau",
    "spearman",
    "percentile_at_3",
    "best_of_3_percentile",
    "regret_at_3",
    "improvement_rate_at_3",
    "delta_at_1",
    "delta_at_3",
    "negative_transfer_rate",
    *BEST_OF,
)
"""Names of the columns of scores."""


def score_target(affinities: Floats, performance: Floats, baseline: float) -> Floats:
    """Return the scores of several selectors for one target.

    Args:
        affinities: float64 [n_selectors, n_sources].
        performance: float64 [n_sources], finite, at least two.
        baseline: Performance without transfer, NaN where unknown.

    Returns:
        float64 [n_selectors, n_metrics], columns as in ``METRICS``; NaN where undefined.
    """
    silent = np.isnan(affinities).all(axis=1)
    ranks = rankdata(np.where(np.isnan(affinities), -np.inf, affinities), axis=1)
    chosen = np.argsort(-ranks, axis=1, kind="stable")
    scores = np.column_stack(
        [
            weighted_tau(ranks, performance),
            spearman(ranks, performance),
            *_percentile_scores(percentiles(performance)[chosen]),
            regrets(performance)[chosen[:, :CHOSEN]].mean(axis=1),
            *_gain_scores(performance[chosen] - baseline),
        ]
    )
    scores[silent] = np.nan
    return scores


def weighted_tau(ranks: Floats, performance: Floats) -> Floats:
    """Return Kendall's tau in which pairs of high rank weigh more (Vigna, WWW 2015).

    The same as ``scipy.stats.weightedtau`` with its defaults: additive hyperbolic weights, mean of the
    tau weighted by the rank in affinity and the one weighted by the rank in performance. Many rankings
    are correlated with one performance at a time.

    Args:
        ranks: float64 [n_selectors, n_sources], anything that orders the sources like the affinity.
        performance: float64 [n_sources].

    Returns:
        float64 [n_selectors], NaN where a ranking or the performance is constant.
    """
    x, y = rankdata(ranks, axis=-1), np.broadcast_to(rankdata(performance), ranks.shape)
    sign_x, sign_y = (np.sign(each[..., :, None] - each[..., None, :]) for each in (x, y))
    agreement = (sign_x * sign_y).sum(axis=-1)
    untied_x, untied_y = np.abs(sign_x).sum(axis=-1), np.abs(sign_y).sum(axis=-1)
    taus = []
    for first, second in ((x, y), (y, x)):
        weight = 1 / _position(first, second)
        scale = (weight * untied_x).sum(axis=-1) * (weight * untied_y).sum(axis=-1)
        taus.append(_ratio((weight * agreement).sum(axis=-1), np.sqrt(scale)))
    mean: Floats = (taus[0] + taus[1]) / 2
    return mean


def spearman(ranks: Floats, performance: Floats) -> Floats:
    """Return Spearman's rank correlation.

    Args:
        ranks: float64 [n_selectors, n_sources], anything that orders the sources like the affinity.
        performance: float64 [n_sources].

    Returns:
        float64 [n_selectors], NaN where a ranking or the performance is constant.
    """
    x, y = rankdata(ranks, axis=-1), rankdata(performance)
    x, y = x - x.mean(axis=-1, keepdims=True), y - y.mean()
    return _ratio(x @ y, np.sqrt((x * x).sum(axis=-1) * (y @ y)))


def percentiles(performance: Floats) -> Floats:
    """Return every source's rank over the number of sources: 1 for the best, ties share their mean rank."""
    ranks: Floats = rankdata(performance) / len(performance)
    return ranks


def regrets(performance: Floats) -> Floats:
    """Return the share of the possible improvement that every source misses, lower is better.

    (oracle − performance) / (1 − performance), 0 for the best source even where it is perfect; the
    published tables hold one minus it. NaN for metrics that exceed 1.

    Args:
        performance: float64 [n_sources].
    """
    oracle = performance.max()
    if oracle > 1:
        return np.full_like(performance, np.nan)
    missed: Floats = np.where(
        performance == oracle, 0.0, (oracle - performance) / np.where(performance == 1, 1.0, 1 - performance)
    )
    return missed


def _percentile_scores(chosen: Floats) -> tuple[Floats, Floats]:
    first = chosen[:, :CHOSEN]
    return first.mean(axis=1), first.max(axis=1)


def _gain_scores(gains: Floats) -> list[Floats]:
    """Scores of what the chosen sources, first choice first, gain over no transfer."""
    best = np.maximum.accumulate(gains, axis=1)
    first = gains[:, :CHOSEN]
    shots = [best[:, min(k, gains.shape[1]) - 1] for k in range(1, SHOTS + 1)]
    return [
        _share(first, first > 0).mean(axis=1),
        gains[:, 0],
        first.mean(axis=1),
        _share(gains[:, 0], gains[:, 0] < 0),
        *(_share(each, each > 0) for each in shots),
    ]


def _share(gains: Floats, holds: Mask) -> Floats:
    share: Floats = np.where(np.isnan(gains), np.nan, holds)
    return share


def _position(first: Floats, second: Floats) -> Floats:
    """Place from 1 by decreasing first key, ties by decreasing second key."""
    key = first * (2.0 * first.shape[-1] + 1) + second
    place = np.argsort(np.argsort(-key, axis=-1, kind="stable"), axis=-1) + 1
    return place.astype(np.float64)


def _ratio(above: Floats, below: Floats) -> Floats:
    ratio: Floats = np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)
    return ratio
