"""What an experiment that was not done yet promises a target: the expected improvement of its best choice.

Jones, Schonlau and Welch 1998, eq. 15: with a gain that is about normal, of mean μ and deviation σ, and a best
choice so far of gain b, no transfer included, the expected improvement is σφ(u) + (μ − b)Φ(u), u = (μ − b)/σ.
The forecast of a source never sees an outcome of its target. What was measured there says only how much is
to be beaten, and how high gains are at this target as a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from scipy.special import ndtr

from aggregator.recommender import LearnedRecommender
from aggregator.recommender.evidence import Indices
from aggregator.recommender.gain import GainModel
from aggregator.study import Floats, Mask

_ONE_SIGMA = 0.6827
_BETWEEN = 4.0  # variance between targets over that within one, as in the published outcomes
_MAD_TO_DEVIATION = 1.2533  # √(π/2), for normal gains


@dataclass(frozen=True, eq=False)
class Outlook:
    """One target in one setting.

    Args:
        target: Position of the target among the tasks.
        sources: int64 [n_sources], positions of the sources that may serve it.
        standing: float64 [n_sources], predicted without any outcome of the target.
        deviation: float64 [n_sources], standard deviation of that prediction.
        parts: Meaning → float64 [n_sources], its part of the standing.
        model: From standings to gains.
        gain: float64 [n_sources], measured or believed gains; NaN where there is none.
        known: bool [n_sources], which sources were measured or are believed to be.
    """

    target: int
    sources: Indices
    standing: Floats
    deviation: Floats
    parts: Mapping[str, Floats]
    model: GainModel
    gain: Floats
    known: Mask

    @classmethod
    def of(cls, recommender: LearnedRecommender, target: int) -> Self:
        """Return the outlook of a target.

        Args:
            recommender: What was learned in the setting.
            target: Position of the target.
        """
        evidence = recommender.evidence
        sources = np.flatnonzero(evidence.allowed[:, target])
        standing, deviation, parts = recommender.unseen(target).predict(sources, target)
        known = np.isfinite(evidence.mean[sources, target])
        gain = evidence.gain[sources, target]
        return cls(target, sources, standing, deviation, parts, recommender.gains(target), gain, known)

    @property
    def best(self) -> float:
        """Gain of the best choice so far, doing without a source being one."""
        return float(np.nanmax(np.append(self.gain, 0.0)))

    @cached_property
    def mean(self) -> Floats:
        """Expected gain, float64 [n_sources]: the forecast, moved by how it missed what was measured here."""
        forecast = self.model.gain(self.standing)
        tried = np.isfinite(self.gain)
        n = int(tried.sum())
        missed = float((self.gain - forecast)[tried].mean()) if n else 0.0
        return np.asarray(forecast + missed * _BETWEEN * n / (_BETWEEN * n + 1))

    @cached_property
    def spread(self) -> Floats:
        """Standard deviation of the gain, float64 [n_sources]; less once the target's level is known."""
        n = int(np.isfinite(self.gain).sum())
        if n:
            within = _MAD_TO_DEVIATION * self.model.spread * np.sqrt(1 + 1 / n)
            usual = np.full(len(self.sources), within)
        else:
            low, high = self.model.interval(self.standing, _ONE_SIGMA)
            usual = (high - low) / 2
        own = (self.model.spread * self.model.slope) ** 2 * (self.deviation**2 - np.mean(self.deviation**2))
        return np.asarray(np.sqrt(np.maximum(usual**2 + own, (0.1 * usual) ** 2)))

    @cached_property
    def improvement(self) -> Floats:
        """Expected improvement of the best choice, float64 [n_sources]; zero where measured."""
        spread = np.maximum(self.spread, 1e-12)
        u = (self.mean - self.best) / spread
        density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
        expected = spread * density + (self.mean - self.best) * ndtr(u)
        return np.asarray(np.where(self.known, 0.0, np.maximum(expected, 0.0)))

    def without(self, forbidden: Mask) -> Self:
        """Return the outlook in which some sources promise nothing.

        Args:
            forbidden: bool [n_sources].
        """
        return replace(self, known=self.known | forbidden)

    def believing(self, place: int) -> Self:
        """Return the outlook as if one source had been measured and gained what is expected.

        So a list of suggestions does not name all sources of the one target that promises most.

        Args:
            place: Position among ``sources``.
        """
        gain, known = self.gain.copy(), self.known.copy()
        gain[place], known[place] = self.mean[place], True
        return replace(self, gain=gain, known=known)
