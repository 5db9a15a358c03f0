"""Which sources to try for a target: by distance alone, and by what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.matrix import TargetColumn
from aggregator.outcomes import Outcome
from aggregator.recommender import NO_TRANSFER, Forecast, LearnedRecommender
from aggregator.study import Setting, Study
from federation.errors import UnknownNameError
from federation.ranking import Candidates, Recommendation

_MOST_SOURCES = 300  # nearest sources that are forecast, beside all that were measured


@dataclass(frozen=True)
class SettingForecast:
    """What is expected of every source in one setting.

    Args:
        setting: Scenario and metric.
        n_targets: At how many other targets something was measured.
        n_outcomes: How many pairs of source and target were measured there.
        forecasts: Every source and no transfer, best first.
    """

    setting: Setting
    n_targets: int
    n_outcomes: int
    forecasts: tuple[Forecast, ...]

    def first(self, n: int) -> list[Forecast]:
        """Return the first ``n`` choices and no transfer, wherever it stands."""
        return [each for each in self.forecasts if each.rank <= n or each.source == NO_TRANSFER]


def candidates(column: TargetColumn) -> Candidates:
    """Return everything known about the possible sources of a target."""
    keys = [entry.fingerprint.key for entry in column.entries]
    others = np.array([i for i in range(len(keys)) if i != column.target], dtype=np.int64)
    return Candidates(
        target=keys[column.target],
        sources=[keys[i] for i in others],
        values={name: values[others] for name, values in column.values.items()},
        standard_errors={name: errors[others] for name, errors in column.standard_errors.items()},
        cards={entry.fingerprint.key: entry.fingerprint.card for entry in column.entries},
    )


def involved(ranking: Sequence[Recommendation], outcomes: Sequence[Outcome]) -> set[str]:
    """Return the tasks a forecast is about: target, nearest sources, everything that was measured.

    Learning compares every two tasks; in a catalogue of thousands only these take part.

    Args:
        ranking: Every source of the target, nearest first; at least one.
        outcomes: The measured outcomes.
    """
    measured = {task for outcome in outcomes for task in (outcome.source, outcome.target)}
    return {ranking[0].target, *(each.source for each in ranking[:_MOST_SOURCES]), *measured}


def require_released(released: Sequence[str], listening: Sequence[str], target: str) -> None:
    """Raise where a target is known to listen only, so that its own site alone can rank sources for it.

    Args:
        released: Addresses of the current tasks.
        listening: Addresses of tasks that released nothing.
        target: Address or name of the target.

    Raises:
        UnknownNameError: Saying where its ranking is.
    """
    silent = [key for key in listening if key not in released and _means(target, key)]
    if silent and not any(_means(target, key) for key in released):
        site, task = silent[0].split("/", 1)
        raise UnknownNameError(
            f"{silent[0]} listens: it released nothing, so the catalogue cannot rank sources for it",
            remedy=f"ask at site {site}: its folder holds its own ranking, rankings/{task}.json",
        )


def _means(name: str, key: str) -> bool:
    return name in (key, key.split("/", 1)[1])


def learn(study: Study, settings: Sequence[Setting], distance: str) -> list[LearnedRecommender]:
    """Return what the outcomes of every setting teach.

    Args:
        study: Tasks, distances, facts and measured outcomes.
        settings: What to learn; without outcomes the prior and the distance speak.
        distance: Name of the distance that ranks sources where nothing was measured.
    """
    return [LearnedRecommender.fit(study, setting, nearest_by=distance) for setting in settings]


def forecast(recommender: LearnedRecommender, target: str) -> SettingForecast:
    """Return what is expected of the sources of a target, given by its address."""
    evidence = recommender.evidence
    others = np.setdiff1d(evidence.targets, evidence.family(evidence.study.index[target]))
    n_outcomes = int(np.isfinite(evidence.standing[:, others]).sum())
    found = tuple(recommender.forecast(target))
    return SettingForecast(evidence.setting, len(others), n_outcomes, found)


def choose_settings(study: Study, scenario: str | None, metric: str | None) -> list[Setting]:
    """Return the measured settings that were asked for, or the asked one even if nothing was measured.

    Args:
        study: The measured outcomes.
        scenario: A scenario, or None for every one that was measured.
        metric: A metric, or None for every one that was measured.

    Raises:
        UnknownNameError: If nothing was measured by that metric in any scenario that was measured.
    """
    measured = [s for s in study.outcomes if scenario in (None, s.scenario) and metric in (None, s.metric)]
    if measured:
        return measured
    if scenario is not None:
        return [Setting(scenario, metric or "auroc")]
    if metric is not None and study.outcomes:
        known = ", ".join(sorted({setting.metric for setting in study.outcomes}))
        raise UnknownNameError(f"no outcome was measured by {metric!r}", remedy=f"choose one of: {known}")
    return []
