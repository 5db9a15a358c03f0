"""How often a selector is the best of those compared (the win rate of Godau et al., arXiv 2412.08763)."""

import numpy as np

from aggregator.study import Floats, Setting, Study
from aggregator.validation.metrics import METRICS, score_target

_HIGHER_IS_BETTER = ("weighted_tau", "percentile_at_3", "delta_at_3", "improvement_rate_at_3")
_LOWER_IS_BETTER = ("regret_at_3",)
_EQUAL = 1e-12


def win_rates(study: Study, setting: Setting, affinities: Floats) -> Floats:
    """Return the share of setups (seed, target, meta-metric) in which each selector is best.

    Ties count for all who share them; a setup counts once any selector has a score in it.

    Args:
        study: Distances and outcomes.
        setting: Whose outcomes.
        affinities: float64 [n_selectors, n_tasks, n_tasks], who competes.

    Returns:
        float64 [n_selectors], NaN where there is no setup.
    """
    scores = _setups(study, setting, affinities)
    counted = np.isfinite(scores).any(axis=0)
    known = np.where(np.isfinite(scores), scores, -np.inf)[:, counted]
    if not known.size:
        return np.full(len(affinities), np.nan)
    rates: Floats = (known >= known.max(axis=0) - _EQUAL).mean(axis=1)
    return rates


def _setups(study: Study, setting: Setting, affinities: Floats) -> Floats:
    """Scores of single seeds, higher is better, float64 [n_selectors, n_setups]."""
    outcomes, candidates = study.outcomes[setting], study.candidates(setting)
    compared = [METRICS.index(name) for name in _HIGHER_IS_BETTER + _LOWER_IS_BETTER]
    sign = np.array([1.0] * len(_HIGHER_IS_BETTER) + [-1.0] * len(_LOWER_IS_BETTER))
    scores = [np.empty((len(affinities), 0))]
    for values, baseline in zip(outcomes.values, outcomes.baseline, strict=True):
        for target in study.target_indices(setting):
            measured = candidates[:, target] & np.isfinite(values[:, target])
            if measured.sum() >= 2:
                performance = values[measured, target]
                found = score_target(affinities[:, measured, target], performance, baseline[target])
                scores.append(sign * found[:, compared])
    return np.concatenate(scores, axis=1)
