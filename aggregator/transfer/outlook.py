"""What an experiment that was not done yet promises a target: the expected improvement of its best choice.

Expected improvement (Mockus 1975; Jones, Schonlau and Welch 1998) on the scale of standings, where sources
differ and targets do not: which target gains most can hardly be foretold, and on the scale of the metric all
experiments would go to the few targets whose gains are thought to spread most. The standings of a new source
and of those that were tried are drawn from their forecasts, no transfer stands where the gain is zero, and
what counts is by how much the new one is above the best of the others. Forecasts never see an outcome of
their target, so that what is suggested for it does not depend on how it fared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from aggregator.recommender import LearnedRecommender
from aggregator.recommender.evidence import Indices
from aggregator.recommender.gain import GainModel
from aggregator.study import Floats, Mask

_N_DRAWS = 400
_FARTHEST = 2.0  # standing beyond which no transfer is not placed: few sources reach it


@dataclass(frozen=True, eq=False)
class Outlook:
    """One target in one setting.

    Args:
        target: Position of the target among the tasks.
        sources: int64 [n_sources], positions of the sources that may serve it.
        standing: float64 [n_sources], predicted without any outcome of the target.
        deviation: float64 [n_sources], standard deviation of what will be measured around it.
        parts: Meaning → float64 [n_sources], its part of the standing.
        model: From standings to gains.
        known: bool [n_sources], which sources were measured or are taken to be.
        barred: bool [n_sources], which ones policies forbid.
    """

    target: int
    sources: Indices
    standing: Floats
    deviation: Floats
    parts: Mapping[str, Floats]
    model: GainModel
    known: Mask
    barred: Mask

    @classmethod
    def of(cls, recommender: LearnedRecommender, target: int, barred: Mask) -> Self:
        """Return the outlook of a target.

        Args:
            recommender: What was learned in the setting.
            target: Position of the target.
            barred: bool [n_tasks], which sources policies forbid.
        """
        evidence = recommender.evidence
        sources = np.flatnonzero(evidence.allowed[:, target])
        unseen = recommender.unseen(target)
        standing, uncertain, parts = unseen.predict(sources, target)
        chance = unseen.terms.components.noise + unseen.terms.components.shared_noise
        deviation = np.sqrt(uncertain**2 + chance)
        known = np.isfinite(evidence.mean[sources, target])
        model = recommender.gains(target)
        return cls(target, sources, standing, deviation, parts, model, known, barred[sources])

    @cached_property
    def improvement(self) -> Floats:
        """Expected improvement of the best choice in standing, float64 [n_sources]; zero where not open."""
        drawn = self.standing + self.deviation * _draws(len(self.sources))
        rival = np.maximum(drawn[:, self.known].max(axis=1, initial=-np.inf), self._no_transfer)
        expected = np.maximum(drawn - rival[:, None], 0.0).mean(axis=0)
        return np.asarray(np.where(self.known | self.barred, 0.0, expected))

    @property
    def improvement_in_metric(self) -> Floats:
        """The same in the metric, float64 [n_sources]."""
        return self.improvement * self.model.spread * self.model.slope

    @property
    def n_tried(self) -> int:
        """Number of sources that were measured or are taken to be."""
        return int(self.known.sum())

    def trying(self, place: int) -> Self:
        """Return the outlook once one more source is tried.

        So a list of suggestions does not name all sources of one target.

        Args:
            place: Position among ``sources``.
        """
        known = self.known.copy()
        known[place] = True
        return replace(self, known=known)

    @property
    def _no_transfer(self) -> float:
        """Standing at which a source gains nothing."""
        rise = self.model.spread * self.model.slope
        if rise <= 0:
            return -_FARTHEST
        gain = float(self.model.gain(np.zeros(1))[0])
        return float(np.clip(-gain / rise, -_FARTHEST, _FARTHEST))


def _draws(n_sources: int) -> Floats:
    """The same standard normal draws for everyone, float64 [n_draws, n_sources]."""
    return np.random.default_rng(0).standard_normal((_N_DRAWS, n_sources))
