"""What a consortium has measured in one setting, in the form that the recommender learns from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from aggregator.recommender import resemblance
from aggregator.study import Floats, Mask, Outcomes, Setting, Study

Indices = npt.NDArray[np.int64]

CHOICES = {"architecture": "architecture", "augmentation": "policy"}
"""What sources of a scenario choose among, so that two can choose the same."""

_FEWEST_AGREEING = 3  # targets at which two sources must agree in every digit to count as the same


@dataclass(frozen=True)
class Evidence:
    """Measured pairs of one setting and everything known about the tasks without outcomes.

    Args:
        study: Tasks, distances and facts.
        setting: Scenario and metric.
        nearest_by: Distance that ranks sources before anything was measured; empty for the mean of all.
    """

    study: Study
    setting: Setting
    nearest_by: str = ""

    @property
    def allowed(self) -> Mask:
        """Bool [n_tasks, n_tasks], which source may serve which target."""
        return self.study.allowed

    @cached_property
    def outcomes(self) -> Outcomes:
        """The measurements; a setting without outcomes is one in which nothing was measured."""
        n = len(self.study.tasks)
        nothing = Outcomes(("0",), np.full((1, n, n), np.nan), np.full((1, n), np.nan))
        return self.study.outcomes.get(self.setting, nothing)

    @cached_property
    def mean(self) -> Floats:
        """float64 [n_tasks, n_tasks], mean over seeds; NaN where not measured or not allowed."""
        return np.where(self.allowed, self.outcomes.performance, np.nan)

    @cached_property
    def gain(self) -> Floats:
        """float64 [n_tasks, n_tasks], performance minus the target's own baseline."""
        return self.mean - self.outcomes.mean_baseline[None, :]

    @cached_property
    def standing(self) -> Floats:
        """float64 [n_tasks, n_tasks], normal score of every source among the target's sources.

        NaN where not measured, and for targets with a single measured source.
        """
        return normal_scores(self.mean)

    @cached_property
    def pairs(self) -> tuple[Indices, Indices]:
        """Sources and targets of the measured pairs, in order of targets."""
        targets, sources = np.nonzero(np.isfinite(self.standing).T)
        return sources, targets

    @cached_property
    def targets(self) -> Indices:
        """Targets with measured sources."""
        return np.unique(self.pairs[1])

    def family(self, task: int) -> Indices:
        """Return a task and everything that shares images with it."""
        return np.flatnonzero(~self.allowed[:, task] | (np.arange(len(self.allowed)) == task))

    def identical_sources(self, without: Iterable[int] = ()) -> Floats:
        """Return how often two sources passed on the very same thing, float64 [n_tasks, n_tasks].

        Sources that lead to equal values in every digit at every common target, in one seed, passed on the
        same architecture or policy. The share of seeds in which they did is a positive semidefinite kernel.
        Weights and data are never the same at two sources; equal best values may be a ceiling and prove
        nothing.

        Args:
            without: Targets whose outcomes must not be looked at.
        """
        identical = np.eye(len(self.allowed))
        if self.setting.scenario not in CHOICES:
            return identical
        targets = np.setdiff1d(self.targets, list(without))
        sources = np.unique(self.pairs[0])
        found = [_partition(seed[np.ix_(sources, targets)]) for seed in self.outcomes.values]
        identical[np.ix_(sources, sources)] = np.mean(found, axis=0)
        return identical

    @cached_property
    def distances(self) -> Mapping[str, Floats]:
        """The distances of the study; where modalities are known, also whether they differ."""
        return {**self.study.distances, **resemblance.by_modality(self.study)}

    @cached_property
    def resemblance(self) -> Floats:
        """Kernel of tasks by all distances, float64 [n_tasks, n_tasks]."""
        return resemblance.by_distances(self.distances, len(self.study.tasks))

    @cached_property
    def traits(self) -> Floats:
        """Standardised facts, float64 [n_tasks, n_traits]."""
        return resemblance.traits(self.study)

    @cached_property
    def likeness(self) -> Floats:
        """Kernel of tasks by distances and facts together, float64 [n_tasks, n_tasks]."""
        return np.asarray((self.resemblance + resemblance.by_facts(self.traits)) / 2)

    @cached_property
    def nearness(self) -> Floats:
        """float64 [n_distances, n_tasks, n_tasks], normal scores of every distance, nearest highest.

        Zero, which is average, where a distance is unknown.
        """
        n = len(self.study.tasks)
        allowed = [np.where(self.allowed, -values, np.nan) for values in self.distances.values()]
        scores = [np.nan_to_num(normal_scores(values)) for values in allowed]
        return np.array(scores).reshape(len(scores), n, n)

    @cached_property
    def prior_nearness(self) -> Floats:
        """float64 [n_tasks, n_tasks], what ranks sources before anything was measured."""
        if not self.study.distances:
            return np.zeros(self.allowed.shape)
        if not self.nearest_by:
            return np.asarray(self.nearness[: len(self.study.distances)].mean(axis=0))
        return np.asarray(self.nearness[list(self.distances).index(self.nearest_by)])


def normal_scores(values: Floats) -> Floats:
    """Return expected normal order statistics within every column, ties sharing their mean rank.

    Args:
        values: float64 [n_tasks, n_tasks], NaN where unknown.

    Returns:
        float64 of the same shape; NaN where unknown, and in columns with fewer than two known values.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata  # slow to import

    scores = np.full(values.shape, np.nan)
    for target in range(values.shape[1]):
        known = np.isfinite(values[:, target])
        if known.sum() >= 2:
            scores[known, target] = ndtri((rankdata(values[known, target]) - 0.5) / known.sum())
    return scores


def _partition(values: Floats) -> Floats:
    from scipy.sparse.csgraph import connected_components  # slow to import

    known = np.isfinite(values)
    common = known[:, None, :] & known[None, :, :]
    agree = values[:, None, :] == values[None, :, :]
    telling = common & (values < np.where(known, values, -np.inf).max(axis=0, initial=-np.inf))[:, None, :]
    same = (agree | ~common).all(axis=2) & (telling.sum(axis=2) >= _FEWEST_AGREEING)
    _, label = connected_components(same, directed=False)
    return np.asarray(label[:, None] == label[None, :], dtype=np.float64)
