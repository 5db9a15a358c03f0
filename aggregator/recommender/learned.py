"""The learned recommender: measured outcomes of other targets, pooled with distances and facts."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from threadpoolctl import threadpool_limits

from aggregator.recommender.evidence import Evidence, Indices
from aggregator.recommender.forecast import NO_TRANSFER, Forecast
from aggregator.recommender.gain import GainModel
from aggregator.recommender.reasons import reasons, visible
from aggregator.recommender.standing import Components, Standing, Terms
from aggregator.study import Floats, Setting, Study
from federation.errors import UnknownNameError

LEVEL = 0.8
_NOBODY: Indices = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class LearnedRecommender:
    """Forecasts for any target; never from outcomes of the target or of tasks that share its images.

    Args:
        evidence: The measurements of one setting.
        posterior: The standing model given all of them.
    """

    evidence: Evidence
    posterior: Standing

    @classmethod
    def fit(
        cls, study: Study, setting: Setting, components: Components | None = None, *, nearest_by: str = ""
    ) -> Self:
        """Learn from the outcomes of one setting; none at all leaves the order of the distances.

        Args:
            study: Tasks, distances, facts, outcomes.
            setting: Scenario and metric.
            components: Variances of the model.
            nearest_by: Distance that ranks sources where nothing was measured; empty for the mean of all.
        """
        evidence = Evidence(study, setting, nearest_by)
        terms = Terms(evidence, evidence.identical_sources(), components or Components())
        return cls(evidence, Standing.fit(terms))

    def forecast(self, target: str, *, level: float = LEVEL) -> list[Forecast]:
        """Return a forecast for every allowed source and for no transfer, best first.

        Args:
            target: Name of the target.
            level: Probability that the intervals hold the gain.

        Raises:
            UnknownNameError: If there is no such task.
        """
        place = self.evidence.study.index.get(target)
        if place is None:
            raise UnknownNameError(f"there is no task {target!r}")
        unseen = self.unseen(place)
        sources = np.flatnonzero(self.evidence.allowed[:, place])
        mean, deviation, parts = unseen.predict(sources, place)
        gains = self.gains(place)
        low, high = gains.interval(mean, level)
        known = visible(self.evidence.standing, self.evidence.family(place))
        harm, expected = gains.chance_of_harm(mean), gains.gain(mean)
        tasks = self.evidence.study.tasks
        found = [
            Forecast(
                target, tasks[source], 0, float(expected[i]), float(low[i]), float(high[i]), level,
                float(harm[i]), float(mean[i]), float(deviation[i]),
                reasons(
                    self.evidence, int(source), place,
                    {name: float(part[i]) for name, part in parts.items()}, known, unseen.terms.identical,
                ),
            )
            for i, source in enumerate(sources)
        ]  # fmt: skip
        return _ranked([*found, _no_transfer(target, level)])

    def unseen(self, target: int) -> Standing:
        """Return the model that never saw an outcome of the target nor of a task that shares its images."""
        family = self.evidence.family(target)
        if self._same_identities(target):
            return self.posterior.without(family)
        terms = replace(self.posterior.terms, identical=self.evidence.identical_sources(family))
        return Standing.fit(terms, ~self.posterior.outcomes_of(family))

    def gains(self, target: int) -> GainModel:
        """Return the gain model of a target, learned from the outcomes of the others."""
        if self._same_identities(target):
            predicted = held_out_standings(self.posterior, self.evidence.family(target))
        else:
            predicted = held_out_standings(self.unseen(target))
        return GainModel.learn(self.evidence, predicted, target)

    @cached_property
    def standings(self) -> Floats:
        """Standing of every measured pair as predicted without its target, float64 [n_tasks, n_tasks]."""
        predicted = held_out_standings(self.posterior)
        for target in self.evidence.targets:
            if not self._same_identities(int(target)):
                sources = np.flatnonzero(np.isfinite(self.evidence.standing[:, target]))
                predicted[sources, target] = self.unseen(int(target)).predict(sources, int(target))[0]
        return predicted

    def _same_identities(self, target: int) -> bool:
        identical = self.evidence.identical_sources(self.evidence.family(target))
        return np.array_equal(identical, self.posterior.terms.identical)


def held_out_standings(standing: Standing, hidden: Indices = _NOBODY) -> Floats:
    """Return what a model predicts for its own pairs, each target held out with its family in turn.

    Args:
        standing: The model.
        hidden: Targets whose outcomes are held out all the time; nothing is predicted for them.

    Returns:
        float64 [n_tasks, n_tasks], NaN where nothing was measured.
    """
    evidence = standing.terms.evidence
    predicted = np.full(evidence.mean.shape, np.nan)
    # Thousands of small factorisations: waking threads for each would cost several times their work.
    with threadpool_limits(1, "blas"):
        for target in np.setdiff1d(standing.targets, hidden):
            family = np.union1d(evidence.family(int(target)), hidden)
            out = standing.outcomes_of(family)
            own = standing.targets[out] == target
            predicted[standing.sources[out][own], target] = standing.held_out(family)[own]
    return predicted


def _no_transfer(target: str, level: float) -> Forecast:
    reason = ("the reference that every gain is measured against",)
    return Forecast(target, NO_TRANSFER, 0, 0.0, 0.0, 0.0, level, 0.0, float("nan"), 0.0, reason)


def _ranked(forecasts: list[Forecast]) -> list[Forecast]:
    def key(forecast: Forecast) -> tuple[float, bool, float, str]:
        nobody = forecast.source == NO_TRANSFER
        return -forecast.gain, nobody, 0.0 if nobody else -forecast.standing, forecast.source

    order = sorted(forecasts, key=key)
    return [replace(forecast, rank=rank) for rank, forecast in enumerate(order, start=1)]
