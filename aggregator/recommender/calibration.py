"""Whether intervals and chances of harm hold on targets that were never measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregator.recommender.evidence import Indices
from aggregator.recommender.learned import LearnedRecommender
from aggregator.study import Floats

LEVELS = (0.5, 0.8, 0.9)


@dataclass(frozen=True)
class Calibration:
    """Means over targets, each forecast from the outcomes of the others.

    Args:
        n_targets: How many targets have a baseline, so that gains are known.
        coverage: Level → share of gains inside the interval of that level.
        brier: Mean squared error of the chance of harm.
        brier_base_rate: The same for always stating the share of harm among the other targets.
        advice_harm_rate: Share of targets harmed by the first choice, no transfer being one of them.
        abstention_rate: Share of targets for which no transfer was the first choice.
        gain_error: Mean absolute error of the expected gain.
    """

    n_targets: int
    coverage: Mapping[float, float]
    brier: float
    brier_base_rate: float
    advice_harm_rate: float
    abstention_rate: float
    gain_error: float

    def to_json(self) -> dict[str, Any]:
        """Return a dict of finite numbers and None."""
        return {
            "calibration_targets": self.n_targets,
            "interval_coverage": {str(level): _finite(share) for level, share in self.coverage.items()},
            "harm_brier": _finite(self.brier),
            "harm_brier_base_rate": _finite(self.brier_base_rate),
            "advice_harm_rate": _finite(self.advice_harm_rate),
            "abstention_rate": _finite(self.abstention_rate),
            "gain_error": _finite(self.gain_error),
        }


def calibrate(recommender: LearnedRecommender) -> Calibration:
    """Forecast every judged target as a new one and compare with what was measured."""
    study, setting = recommender.evidence.study, recommender.evidence.setting
    judged = study.target_indices(setting) if setting in study.outcomes else ()
    rows = [row for target in judged for row in _judge(recommender, target)]
    means = np.mean(rows, axis=0) if rows else np.full(len(LEVELS) + 5, np.nan)
    coverage = dict(zip(LEVELS, means[: len(LEVELS)].tolist(), strict=True))
    return Calibration(len(rows), coverage, *means[len(LEVELS) :].tolist())


def _judge(recommender: LearnedRecommender, target: int) -> list[list[float]]:
    evidence = recommender.evidence
    sources = np.flatnonzero(np.isfinite(evidence.gain[:, target]))
    if not len(sources):
        return []
    model = recommender.gains(target)
    predicted, gain = recommender.standings[sources, target], evidence.gain[sources, target]
    covered = []
    for level in LEVELS:
        low, high = model.interval(predicted, level)
        covered.append(float(np.mean((gain >= low) & (gain <= high))))
    harm = model.chance_of_harm(predicted)
    usual = _base_rate(evidence.gain, np.setdiff1d(evidence.targets, evidence.family(target)))
    expected = model.gain(predicted)
    abstains = expected.max() <= 0
    harmed = not abstains and gain[expected.argmax()] < 0
    brier = [float(((chance - (gain < 0)) ** 2).mean()) for chance in (harm, usual)]
    return [[*covered, *brier, float(harmed), float(abstains), float(np.abs(expected - gain).mean())]]


def _base_rate(gain: Floats, others: Indices) -> float:
    known = np.isfinite(gain[:, others])
    rates = ((gain[:, others] < 0) & known).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    rates = rates[known.any(axis=0)]
    return float(rates.mean()) if len(rates) else 0.5


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
