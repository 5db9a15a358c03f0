"""What is expected of transfer where nothing was measured yet.

The figures summarise the outcomes of the 28 development tasks of Godau et al. (arXiv 2412.08763), metrics
AUROC and balanced accuracy together; ``python -m benchmarks.recommender DIR --prior`` prints them.
"""

from dataclasses import dataclass

import numpy as np

from aggregator.study import Floats, Setting

WEIGHT = 3.0
"""How many measured targets the prior counts for."""

LEVELS: Floats = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


@dataclass(frozen=True)
class GainPrior:
    """Gains of a scenario before anything was measured.

    Args:
        location: Median gain of a target's sources, in units of their spread.
        log_spread: Logarithm of the mean absolute deviation of gains at one target.
        slope: Gain, in units of the spread, per unit of standing.
        residuals: Quantiles of gain beyond location and slope, in units of the spread, at ``LEVELS``.
    """

    location: float
    log_spread: float
    slope: float
    residuals: tuple[float, ...]


_TABLE = {
    "architecture": GainPrior(1.56, -4.81, 0.90, (-6.7, -2.3, -1.5, -0.5, 2.0, 8.7, 12.6)),
    "pretraining": GainPrior(-0.44, -3.86, 1.07, (-7.4, -3.7, -1.4, -0.2, 0.5, 1.1, 1.5)),
    "augmentation": GainPrior(3.04, -5.16, 0.89, (-4.6, -3.7, -2.8, -0.8, 5.2, 14.6, 19.3)),
    "co_training": GainPrior(1.03, -5.19, 0.81, (-4.3, -2.7, -1.3, -0.5, 2.6, 15.0, 22.4)),
    # Nobody has published gains of several parts at once: the mean of the four rows above.
    "combined": GainPrior(1.30, -4.76, 0.92, (-5.8, -3.1, -1.8, -0.5, 2.6, 9.9, 14.0)),
}


def gain_prior(setting: Setting) -> GainPrior:
    """Return the prior of a setting's scenario."""
    return _TABLE[setting.scenario]


def residual_atoms(before: GainPrior, n: int) -> Floats:
    """Return ``n`` equally likely residuals, float64 [n]: linear between the quantiles, constant beyond."""
    return np.asarray(np.interp((np.arange(n) + 0.5) / n, LEVELS, before.residuals))
