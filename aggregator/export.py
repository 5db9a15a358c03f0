"""The catalogue as a folder of CSV files that ``fedprint validate`` reads.

Its layout is that of the published tables of arXiv 2412.08763: ``distances/NAME.csv`` (rows are sources,
columns are targets), ``outcomes/SCENARIO_METRIC.csv``, ``outcomes/baseline_full_METRIC.csv``, ``tasks.json``
and ``task_infos.csv``. Where tasks carry noise, ``standard_errors/NAME.csv`` comes beside.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from aggregator import matrix
from aggregator.matrix import SimilarityMatrix, Values
from aggregator.outcomes import Outcome, baselines
from aggregator.store import Catalogue
from aggregator.study import SCENARIOS
from federation.distances import on_demand
from federation.errors import StoreError, UnknownNameError
from federation.files import write_atomically
from federation.task_card import TaskCard

Row = Sequence[str | int | float | None]
Baselines = Mapping[tuple[int, str], float]

_INFOS = (
    *("name", "task_types", "num_classes", "num_samples", "domains", "imbalance_ratios", "datasets"),
    *("keywords", "dimensions", "max_resolution", "min_resolution"),
)


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        n_tasks: Number of tasks.
        n_distances: Number of matrices.
        n_outcomes: Number of measured outcomes.
        left_out: Number of outcomes whose source or target is not in the matrices.
        not_computed: Distances on demand that nobody asked for.
    """

    n_tasks: int
    n_distances: int
    n_outcomes: int
    left_out: int
    not_computed: tuple[str, ...] = ()


def export_catalogue(catalogue: Catalogue, directory: Path, asked: Sequence[str] = ()) -> Exported:
    """Write the current tasks of the catalogue into a new or empty folder.

    Which tasks share images is what the run was configured with.

    Args:
        catalogue: What is exported.
        directory: The folder.
        asked: Names of distances that are wanted even if they are computed on demand only.

    Raises:
        UnknownNameError: If a distance does not exist or cannot be computed from the catalogue.
        StoreError: If the folder holds something already or cannot be written, or no task is there.
        OutcomeError: If a target has two baselines.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise StoreError(f"{directory} is not empty", remedy="choose a new folder")
    space = catalogue.latest_space()
    matrices = matrix.read_all(catalogue, space)
    slow = on_demand(space)
    _check_asked(asked, [*matrices, *slow])
    matrices |= {name: matrix.read(catalogue, space, name) for name in asked}
    tasks = next(iter(matrices.values())).keys
    if not tasks:
        raise StoreError(f"catalogue {catalogue.place} holds no task", remedy="fingerprint some tasks first")
    known = set(tasks)
    every = catalogue.outcomes()
    outcomes = [each for each in every if {each.source, each.target} <= known]
    files = {
        "tasks.json": _tasks_json(tasks, catalogue.shared_images()),
        "task_infos.csv": _csv([_INFOS, *_infos(next(iter(matrices.values())))]),
        **{
            f"distances/{_file_name(name)}.csv": _matrix_csv(found, found.values)
            for name, found in matrices.items()
        },
        **_error_files(matrices),
        **_outcome_files(outcomes),
        **_baseline_files(outcomes, tasks),
    }
    for name, content in files.items():
        write_atomically(directory / name, content.encode())
    return Exported(
        n_tasks=len(tasks),
        n_distances=len(matrices),
        n_outcomes=len(outcomes),
        left_out=len(every) - len(outcomes),
        not_computed=tuple(name for name in slow if name not in matrices),
    )


def _check_asked(asked: Sequence[str], possible: Sequence[str]) -> None:
    for name in asked:
        if name not in possible:
            raise UnknownNameError(
                f"the sketches of this catalogue give no distance {name!r}",
                remedy=f"choose from: {', '.join(possible)}",
            )


def _file_name(distance: str) -> str:
    return distance.replace("-", "_")


def _tasks_json(tasks: Sequence[str], shared_images: Mapping[str, Sequence[str]]) -> str:
    groups = {name: [t for t in members if t in tasks] for name, members in shared_images.items()}
    return json.dumps({"targets": tasks, "groups": groups, "not_shrunk": tasks}, indent=1) + "\n"


def _error_files(matrices: Mapping[str, SimilarityMatrix]) -> dict[str, str]:
    """One file per distance that noise moves; cells whose standard error is not known are empty."""
    return {
        f"standard_errors/{_file_name(name)}.csv": _matrix_csv(found, found.standard_errors)
        for name, found in matrices.items()
        if found.standard_errors.any()
    }


def _matrix_csv(found: SimilarityMatrix, values: Values) -> str:
    rows = zip(found.keys, values.tolist(), strict=True)
    return _csv(
        [("", *found.keys), *((key, *(v if np.isfinite(v) else None for v in row)) for key, row in rows)]
    )


def _outcome_files(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """One file per scenario and metric; outcomes come ordered by both."""
    header = ("seed", "source", "target", "value")
    return {
        f"outcomes/{scenario}_{metric}.csv": _csv(
            [header, *((each.seed, each.source, each.target, each.value) for each in group)]
        )
        for (scenario, metric), group in groupby(outcomes, lambda each: (each.scenario, each.metric))
    }


def _baseline_files(outcomes: Sequence[Outcome], tasks: Sequence[str]) -> dict[str, str]:
    """One file per metric, and one per scenario and metric where a scenario disagrees with it."""
    found: dict[str, dict[str, dict[tuple[int, str], float]]] = {}
    for (scenario, metric, seed, target), value in baselines(outcomes).items():
        found.setdefault(metric, {}).setdefault(scenario, {})[seed, target] = value
    files = {}
    for metric, by_scenario in sorted(found.items()):
        full: dict[tuple[int, str], float] = {}
        for scenario in SCENARIOS:
            full = by_scenario.get(scenario, {}) | full
        files[f"outcomes/baseline_full_{metric}.csv"] = _baseline_csv(full, tasks)
        for scenario, own in by_scenario.items():
            if any(full[key] != value for key, value in own.items()):
                files[f"outcomes/baseline_{scenario}_{metric}.csv"] = _baseline_csv(own, tasks)
    return files


def _baseline_csv(found: Baselines, tasks: Sequence[str]) -> str:
    seeds = sorted({seed for seed, _ in found})
    return _csv([("", *tasks), *((seed, *(found.get((seed, task)) for task in tasks)) for seed in seeds)])


def _infos(found: SimilarityMatrix) -> list[Row]:
    return [_info(fingerprint.key, fingerprint.card) for fingerprint in found.fingerprints]


def _info(name: str, card: TaskCard) -> Row:
    counts = [count for count in card.classes.values() if count]
    imbalance = max(counts) / min(counts) if counts else None
    keywords = str(list(card.keywords))
    known = (
        name,
        "classification",
        len(card.classes),
        card.n_labelled,
        card.modality,
        imbalance,
        name,
        keywords,
    )
    return (*known, None, None, None)


def _csv(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
