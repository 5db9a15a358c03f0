"""A validation study: tasks, distances between them, and how well transfer between them went."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

Scenario = Literal["architecture", "pretraining", "augmentation", "co_training", "combined"]
SCENARIOS: tuple[str, ...] = get_args(Scenario)
"""What a source can pass on: its best architecture, weights, augmentation policy, data to train with, or
several of these at once."""

_FEWEST_SOURCES = 2


@dataclass(frozen=True, order=True)
class Setting:
    """What was transferred and how success was measured.

    Args:
        scenario: One of ``SCENARIOS``.
        metric: Name of the metric in lower case, such as ``auroc`` or ``ba``; higher is better.
    """

    scenario: str
    metric: str

    @property
    def scenario_in_words(self) -> str:
        """The scenario as people write it."""
        return self.scenario.replace("_", "-")


@dataclass(frozen=True)
class Outcomes:
    """The measurements of one setting.

    Values are single-precision measurements held in float64: sums over a few seeds are then exact, so
    that equal means compare as equal.

    Args:
        seeds: Names of the repetitions.
        values: float64 [n_seeds, n_tasks, n_tasks], (seed, source, target); NaN where not measured.
        baseline: float64 [n_seeds, n_tasks], the targets without transfer; NaN where unknown.
    """

    seeds: tuple[str, ...]
    values: Floats
    baseline: Floats

    @cached_property
    def performance(self) -> Floats:
        """Mean over the seeds that were measured, float64 [n_tasks, n_tasks], NaN where none was."""
        return mean_of_known(self.values)

    @cached_property
    def mean_baseline(self) -> Floats:
        """Mean of the baseline over its seeds, float64 [n_tasks], NaN where unknown."""
        return mean_of_known(self.baseline)

    @cached_property
    def gain(self) -> Floats:
        """Mean gain over the seeds that have both, float64 [n_tasks, n_tasks], NaN where none has.

        Where a seed is missing it differs from ``performance`` less ``mean_baseline``: seeds differ in more
        than sources do.
        """
        return mean_of_known(self.values - self.baseline[:, None, :])


@dataclass(frozen=True)
class TaskFacts:
    """What is known about a task besides its images; NaN or empty where unknown.

    Args:
        num_classes: Number of classes.
        num_samples: Number of images, before any reduction to 800.
        domain: Imaging modality or field.
        keywords: Descriptive words.
        imbalance: Size of the largest class over that of the smallest.
        dimension: Estimated intrinsic dimension of the images.
    """

    num_classes: float = float("nan")
    num_samples: float = float("nan")
    domain: str = ""
    keywords: frozenset[str] = frozenset()
    imbalance: float = float("nan")
    dimension: float = float("nan")


@dataclass(frozen=True)
class Study:
    """Everything that a selector of sources may be judged by.

    Args:
        tasks: Every task that is a source or a target; the order of all axes below.
        targets: The tasks whose recommendations are judged; outcomes of other targets are history only.
        groups: Group name to the tasks that share images and therefore never serve each other.
        distances: Name to float64 [n_tasks, n_tasks], rows are sources and columns are targets, lower is
            closer; a target measured on 800 images is represented by its 800-image version. NaN where
            unknown or infinite, and on the diagonal.
        outcomes: Measurements per setting, in the order of ``SCENARIOS``, then of the metric.
        facts: Facts per task; every task has an entry, if only an empty one.
        notes: What was read and is not used, or used otherwise than it stands, one sentence each.
    """

    tasks: tuple[str, ...]
    targets: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    distances: Mapping[str, Floats]
    outcomes: Mapping[Setting, Outcomes]
    facts: Mapping[str, TaskFacts] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of every task."""
        return {task: i for i, task in enumerate(self.tasks)}

    @cached_property
    def allowed(self) -> Mask:
        """Who may serve whom, bool [n_tasks, n_tasks]: the source is neither the target nor of its group."""
        allowed = ~np.eye(len(self.tasks), dtype=bool)
        for members in self.groups.values():
            places = [self.index[task] for task in members]
            allowed[np.ix_(places, places)] = False
        return allowed

    def candidates(self, setting: Setting) -> Mask:
        """Who may serve whom and was measured, bool [n_tasks, n_tasks]."""
        measured: Mask = self.allowed & np.isfinite(self.outcomes[setting].performance)
        return measured

    def target_indices(self, setting: Setting) -> tuple[int, ...]:
        """Positions of the judged targets that have at least two candidates to choose between."""
        enough = self.candidates(setting).sum(axis=0) >= _FEWEST_SOURCES
        return tuple(i for i in map(self.index.__getitem__, self.targets) if enough[i])


def mean_of_known(values: Floats) -> Floats:
    """Return the mean over the first axis of the values that are not NaN; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
