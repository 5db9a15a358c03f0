"""What a report is made from: everything it shows, and nothing that changes between two runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregator.recommend import SettingForecast
from federation.errors import StoreError, UnknownNameError
from federation.fingerprint import Provenance
from federation.privacy.statement import PrivacyStatement
from federation.ranking import Recommendation
from federation.task_card import TaskCard

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TaskEntry:
    """One task of the catalogue.

    Args:
        key: Address of the task, ``site/task``.
        site: Name of the site.
        card: What the site says about the task. Untrusted text.
        privacy: What protects the patients.
        provenance: How the fingerprint was made.
        fingerprint_id: SHA-256 of the signed fingerprint.
        n: Number of images the sketch was made from.
    """

    key: str
    site: str
    card: TaskCard
    privacy: PrivacyStatement
    provenance: Provenance
    fingerprint_id: str
    n: int


@dataclass(frozen=True)
class MissingTask:
    """A task that was expected and is not in the catalogue.

    Args:
        site: Name of the site.
        task: Name of the task, empty when the whole site is missing.
        reason: Why, in words.
    """

    site: str
    task: str
    reason: str


@dataclass(frozen=True, eq=False)
class ReportData:
    """A consortium's catalogue at one moment.

    Args:
        title: Name of the consortium.
        created: When the catalogue was read; passed in so that equal data give equal bytes.
        distance: Name of the distance shown first, a key of ``matrices``.
        matrices: Distance name → float64 [T, T], rows sources, columns targets. NaN or infinity
            marks a pair that cannot be compared.
        tasks: The T tasks in the order of the matrices.
        standard_errors: Distance name → float64 [T, T], what noise makes of its values: 0 between exact
            tasks, NaN where unknown; empty where no task has noise.
        recommendations: Target key → every source, nearest first.
        forecasts: Target key → what is expected of its sources, per setting that was measured.
        missing: Tasks that were expected and did not arrive.
        listening: Sites that only listen and published nothing.
        space: ``Space.header()`` of the space of all fingerprints.
        notes: Remarks about this run, one sentence each.

    Raises:
        UnknownNameError: If ``distance`` has no matrix.
        StoreError: If the shape of a matrix is not [T, T], or two tasks share an address.
    """

    title: str
    created: datetime
    distance: str
    matrices: Mapping[str, Matrix]
    tasks: tuple[TaskEntry, ...]
    standard_errors: Mapping[str, Matrix] = field(default_factory=dict)
    recommendations: Mapping[str, tuple[Recommendation, ...]] = field(default_factory=dict)
    forecasts: Mapping[str, tuple[SettingForecast, ...]] = field(default_factory=dict)
    missing: tuple[MissingTask, ...] = ()
    listening: tuple[str, ...] = ()
    space: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.distance not in self.matrices:
            raise UnknownNameError(
                f"the report has no matrix of distance {self.distance!r}",
                remedy=f"use one of {sorted(self.matrices)}",
            )
        for name, matrix in [*self.matrices.items(), *self.standard_errors.items()]:
            _check_shape(name, matrix, len(self.tasks))
        _check_distinct([task.key for task in self.tasks])


def _check_shape(name: str, matrix: Matrix, n_tasks: int) -> None:
    if matrix.shape != (n_tasks, n_tasks):
        raise StoreError(
            f"matrix {name!r} has shape {list(matrix.shape)}, expected [{n_tasks}, {n_tasks}] "
            f"for {n_tasks} tasks",
            remedy="compute the matrix of the catalogue again",
        )


def _check_distinct(keys: list[str]) -> None:
    doubles = sorted({key for key in keys if keys.count(key) > 1})
    if doubles:
        raise StoreError(
            f"the report holds task {doubles[0]!r} twice",
            remedy="pass every task once, in the order of the matrices",
        )
