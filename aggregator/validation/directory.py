"""Reading a study from its directory; what does not fit together is refused in one message."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator.study import SCENARIOS, Floats, Outcomes, Setting, Study, TaskFacts
from aggregator.validation.coverage import (
    check_covers,
    check_distances,
    check_known,
    check_used,
    note_strangers,
    note_unused,
)
from aggregator.validation.labelled_matrix import LabelledMatrix, base_name, read_labelled_matrix
from aggregator.validation.outcome_file import OutcomeFile, outcome_arrays, read_baseline, read_outcomes
from aggregator.validation.selectors import RESERVED
from aggregator.validation.task_files import TaskList, read_facts, read_task_list
from federation.errors import StudyError

_BASELINE = "baseline_"
_KINDS = ("full", "shrunk_800")
_LAYOUT = "put tasks.json, distances/NAME.csv and outcomes/SCENARIO_METRIC.csv there; see docs/validation.md"


@dataclass(frozen=True)
class _Tables:
    """The outcome files of a study and the outcomes without transfer, named ``(kind, metric)``."""

    outcomes: Mapping[Setting, OutcomeFile]
    baselines: Mapping[tuple[str, str], LabelledMatrix]

    def baselines_for(self, setting: Setting, not_shrunk: frozenset[str]) -> list[LabelledMatrix]:
        """Return the tables that may hold a target's baseline, the most specific first."""
        own, shrunk, full = (
            self.baselines.get((kind, setting.metric)) for kind in (setting.scenario, "shrunk_800", "full")
        )
        shrunk = shrunk and shrunk.without(not_shrunk)
        return [table for table in (own, shrunk, full) if table is not None]


def read_study(directory: Path) -> Study:
    """Read ``tasks.json``, ``distances/*.csv``, ``outcomes/*.csv`` and ``task_infos.csv``.

    Args:
        directory: Where they are. ``task_infos.csv`` and the baselines in ``outcomes`` may be missing.

    Raises:
        StudyError: If a table is missing or malformed, or tables contradict each other.
    """
    distance_paths, outcome_paths = (_csv_files(directory, part) for part in ("distances", "outcomes"))
    listed = read_task_list(directory / "tasks.json")
    tables = _read_tables(outcome_paths)
    _check_names(distance_paths)
    matrices = {path.stem: read_labelled_matrix(path) for path in distance_paths}
    for matrix in matrices.values():
        check_covers(matrix, tables.outcomes.values(), listed)
    tasks = _all_tasks(listed, tables, matrices.values())
    check_known(listed, tasks)
    check_used(listed, tables.outcomes.values())
    check_distances(matrices.values())
    facts = read_facts(path) if (path := directory / "task_infos.csv").exists() else {}
    return Study(
        tasks=tasks,
        targets=listed.targets,
        groups=listed.groups,
        distances={name: _distances(matrix, tasks, listed) for name, matrix in matrices.items()},
        outcomes=_arrays(tables, tasks, listed),
        facts={task: facts.get(task, TaskFacts()) for task in tasks},
        notes=tuple(_notes(directory, listed, tables, matrices.values(), tasks, facts)),
    )


def _notes(
    directory: Path,
    listed: TaskList,
    tables: _Tables,
    matrices: Collection[LabelledMatrix],
    tasks: Collection[str],
    facts: Collection[str],
) -> Iterator[str]:
    """Yield what is not used as it stands; names that look misspelt are refused."""
    if listed.unread:
        yield f"{listed.path}: nothing reads {', '.join(map(repr, listed.unread))}"
    yield from note_unused(tables.outcomes, tables.baselines)
    for metric in sorted({setting.metric for setting in tables.outcomes}):
        own = [table for (_, measure), table in tables.baselines.items() if measure == metric]
        files = [file for setting, file in tables.outcomes.items() if setting.metric == metric]
        measured = {target for file in files for target in file.targets}.intersection(listed.targets)
        named = [base_name(column) for table in own for column in table.columns]
        where = ", ".join(str(table.path) for table in own)
        yield from note_strangers(where, named, tasks, measured)
    yield from note_strangers(str(directory / "task_infos.csv"), facts, tasks, tasks)
    for matrix in matrices:
        if n_infinite := int(np.isinf(matrix.values).sum()):
            yield f"{matrix.path}: infinite distances ({n_infinite}) stand last, like unknown ones"


def _csv_files(directory: Path, part: str) -> list[Path]:
    if not directory.is_dir():
        raise StudyError(f"{directory} is not a directory", remedy=_LAYOUT)
    paths = sorted(p for p in (directory / part).glob("*.[cC][sS][vV]") if not p.name.startswith("."))
    if not paths:
        raise StudyError(f"{directory / part} holds no CSV file", remedy=_LAYOUT)
    return paths


def _read_tables(paths: Collection[Path]) -> _Tables:
    outcomes: dict[Setting, OutcomeFile] = {}
    baselines: dict[tuple[str, str], LabelledMatrix] = {}
    for path in paths:
        stem = path.stem.lower()
        if stem.startswith(_BASELINE):
            key = _split(path, stem.removeprefix(_BASELINE), (*_KINDS, *SCENARIOS))
            _check_new(path, key in baselines)
            baselines[key] = read_baseline(path, key[1])
        else:
            setting = Setting(*_split(path, stem, SCENARIOS))
            _check_new(path, setting in outcomes)
            outcomes[setting] = read_outcomes(path, setting.metric)
    if not outcomes:
        raise StudyError(f"{next(iter(paths)).parent} holds baselines but no outcomes", remedy=_LAYOUT)
    return _Tables(outcomes, baselines)


def _split(path: Path, stem: str, known: Collection[str]) -> tuple[str, str]:
    """Return scenario (or kind of baseline) and metric of a file name."""
    for kind in known:
        if stem.startswith(kind + "_") and len(stem) > len(kind) + 1:
            return kind, stem[len(kind) + 1 :]
    if stem in known:
        raise StudyError(
            f"{path} names no metric", remedy=f"name it {path.stem}_METRIC.csv, as in {path.stem}_auroc.csv"
        )
    raise StudyError(
        f"{path}: there is no scenario {stem.rpartition('_')[0] or stem!r}",
        remedy=f"name it SCENARIO_METRIC.csv with a scenario of {', '.join(SCENARIOS)}, or as a baseline "
        "baseline_full_METRIC.csv, baseline_shrunk_800_METRIC.csv or baseline_SCENARIO_METRIC.csv",
    )


def _check_names(distance_paths: Collection[Path]) -> None:
    for path in distance_paths:
        if path.stem.lower() in RESERVED:
            raise StudyError(
                f"{path}: {path.stem!r} is what results call a reference of their own",
                remedy=f"give the distance another name than {', '.join(RESERVED)}",
            )


def _check_new(path: Path, known: bool) -> None:
    if known:
        raise StudyError(f"{path} names the same setting as another file", remedy="keep one of them")


def _all_tasks(listed: TaskList, tables: _Tables, matrices: Collection[LabelledMatrix]) -> tuple[str, ...]:
    """Return the listed targets, then every other task in order of appearance."""
    names = list(listed.targets)
    for file in tables.outcomes.values():
        names += [*file.sources, *file.targets]
    for matrix in matrices:
        names += [*matrix.rows, *map(base_name, matrix.columns)]
    return tuple(dict.fromkeys(names))


def _arrays(tables: _Tables, tasks: tuple[str, ...], listed: TaskList) -> dict[Setting, Outcomes]:
    ordered = sorted(tables.outcomes, key=lambda each: (SCENARIOS.index(each.scenario), each.metric))
    return {
        setting: outcome_arrays(
            tables.outcomes[setting],
            tables.baselines_for(setting, listed.not_shrunk),
            tasks,
            listed.not_shrunk,
        )
        for setting in ordered
    }


def _distances(matrix: LabelledMatrix, tasks: tuple[str, ...], listed: TaskList) -> Floats:
    """Return float64 [n_tasks, n_tasks]; what is unknown, infinite or on the diagonal is NaN."""
    distances = np.full((len(tasks), len(tasks)), np.nan)
    rows = [(i, matrix.row_index[task]) for i, task in enumerate(tasks) if task in matrix.row_index]
    here, there = np.array(rows).T
    for i, task in enumerate(tasks):
        column = matrix.target_column(task, listed.not_shrunk)
        if column is not None:
            distances[here, i] = matrix.values[there, column]
    distances[~np.isfinite(distances)] = np.nan
    np.fill_diagonal(distances, np.nan)
    return distances
