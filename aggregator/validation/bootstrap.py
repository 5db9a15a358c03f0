"""Intervals for means over targets.

All pairs of one target share its difficulty, its noise and its baseline, so that pairs are no independent
draws. Whole targets are resampled (the cluster bootstrap, Davison & Hinkley 1997, §3.8).
"""

import numpy as np

from aggregator.study import Floats

_RESAMPLES = 2000
_LEVEL = 0.95


def target_intervals(scores: Floats, seed: int = 0) -> Floats:
    """Return the percentile interval, 95 %, of the mean over targets.

    The same number of targets gives the same resamples, so that intervals of several selectors are
    comparable.

    Args:
        scores: float64 [n_targets, n_metrics], one row per target; NaN is left out of the mean.
        seed: Seed of the resamples.

    Returns:
        float64 [2, n_metrics], lower and upper end; NaN where fewer than two targets have a score.
    """
    n_targets, n_metrics = scores.shape
    known = np.isfinite(scores)
    intervals = np.full((2, n_metrics), np.nan)
    enough = known.sum(axis=0) >= 2
    if not enough.any():
        return intervals
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(n_targets, np.full(n_targets, 1 / n_targets), size=_RESAMPLES)
    total, number = counts @ np.where(known, scores, 0.0), counts @ known
    means = np.where(number > 0, total / np.maximum(number, 1), np.nan)[:, enough]
    intervals[:, enough] = np.nanquantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
    return intervals
