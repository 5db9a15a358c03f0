"""Measured transfer: one line per seed, source and target; and the same targets without transfer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aggregator.measurement import SEED_RULE, objection, parse_number, parse_seed
from aggregator.study import Outcomes
from aggregator.validation.labelled_matrix import LabelledMatrix, read_csv, read_labelled_matrix
from federation.errors import StudyError

_COLUMNS = ("seed", "source", "target", "value")


@dataclass(frozen=True)
class OutcomeFile:
    """The lines of one outcome file.

    Args:
        path: Where they were read from.
        values: Outcome per (seed, source, target), finite.
    """

    path: Path
    values: Mapping[tuple[str, str, str], float]

    @property
    def sources(self) -> list[str]:
        """Names of the sources, in order of appearance."""
        return list(dict.fromkeys(source for _, source, _ in self.values))

    @property
    def targets(self) -> list[str]:
        """Names of the targets, in order of appearance."""
        return list(dict.fromkeys(target for _, _, target in self.values))


def read_outcomes(path: Path, metric: str = "") -> OutcomeFile:
    """Read ``seed, source, target, value``; further columns are passed over.

    Args:
        path: The file.
        metric: Name of the metric in lower case; it bounds the values.

    Raises:
        StudyError: If a column or value is missing, a value cannot be of the metric, a seed is no whole
            number, a task serves itself, or a measurement is there twice.
    """
    lines = read_csv(path)
    header = [name.lower() for name in lines[0]] if lines else []
    for name in _COLUMNS:
        if name not in header:
            raise StudyError(
                f"{path} has no column {name!r}", remedy=f"begin it with the line {','.join(_COLUMNS)}"
            )
    values = _read_lines(path, metric, lines)
    if not values:
        raise StudyError(f"{path} holds no outcomes", remedy="remove the file or add its measurements")
    return OutcomeFile(path, values)


def outcome_arrays(
    file: OutcomeFile, baselines: Sequence[LabelledMatrix], tasks: Sequence[str], not_shrunk: frozenset[str]
) -> Outcomes:
    """Return outcomes and baseline as arrays over all tasks.

    Args:
        file: The measurements with transfer.
        baselines: Tables of targets (columns) per seed (rows), the most specific first.
        tasks: Names and order of the tasks.
        not_shrunk: Targets that are always measured in full.
    """
    seeds = _seeds(file, baselines)
    row, place = ({name: i for i, name in enumerate(names)} for names in (seeds, tasks))
    values = np.full((len(seeds), len(tasks), len(tasks)), np.nan)
    keys = [(row[seed], place[source], place[target]) for seed, source, target in file.values]
    values[tuple(np.array(keys).T)] = list(file.values.values())
    baseline = np.full((len(seeds), len(tasks)), np.nan)
    for table in reversed(baselines):
        for task, i in place.items():
            column = table.target_column(task, not_shrunk)
            if column is not None and np.isfinite(table.values[:, column]).any():
                baseline[:, i] = np.nan
                baseline[[row[seed] for seed in table.rows], i] = table.values[:, column]
    return Outcomes(seeds, _single_precision(values), _single_precision(baseline))


def read_baseline(path: Path, metric: str = "") -> LabelledMatrix:
    """Read the outcomes without transfer: one row per seed, one column per target.

    Args:
        path: The file.
        metric: Name of the metric in lower case; it bounds the values.

    Raises:
        StudyError: If the table is malformed, a row is no seed, or a value cannot be of the metric.
    """
    table = read_labelled_matrix(path)
    if np.isinf(table.values).any():
        raise StudyError(f"{path} holds infinite values", remedy="leave unknown cells empty")
    for i, j in np.argwhere(~np.isnan(table.values)):
        where = f"{path}: row {table.rows[i]!r}, column {table.columns[j]!r}"
        _check_value(where, metric, float(table.values[i, j]))
    seeds = tuple(_seed(f"{path}, row {i}", row) for i, row in enumerate(table.rows, start=1))
    twice = [seed for i, seed in enumerate(seeds) if seed in seeds[:i]]
    if twice:
        raise StudyError(f"{path} holds seed {twice[0]} twice", remedy="keep one of the rows")
    return replace(table, rows=seeds)


def _read_lines(path: Path, metric: str, lines: Sequence[Sequence[str]]) -> dict[tuple[str, str, str], float]:
    values: dict[tuple[str, str, str], float] = {}
    header = [name.lower() for name in lines[0]]
    places = [header.index(name) for name in _COLUMNS]
    for number, line in enumerate(lines[1:], start=2):
        if not any(line):
            continue
        where = f"{path}, line {number}"
        if any(line[len(header) :]):
            raise StudyError(
                f"{where} has {len(line)} cells for {len(header)} columns",
                remedy="write decimal points, and one cell per column",
            )
        key, value = _parse(where, line, places)
        _check_value(f"{where}: the outcome", metric, value)
        if key in values:
            raise StudyError(
                f"{where}: seed {key[0]!r}, {key[1]!r} for {key[2]!r} is there twice",
                remedy="keep one of the two measurements, or give them different seeds",
            )
        values[key] = value
    return values


def _parse(where: str, line: Sequence[str], places: Sequence[int]) -> tuple[tuple[str, str, str], float]:
    cells = [line[place] if place < len(line) else "" for place in places]
    for name, cell in zip(_COLUMNS, cells, strict=True):
        if not cell:
            raise StudyError(f"{where} has no {name}", remedy="complete or remove the line")
    seed, source, target, text = cells
    if source == target:
        raise StudyError(
            f"{where}: {source!r} is source and target",
            remedy="put results without transfer into a baseline table",
        )
    value = parse_number(text)
    if value is None or not math.isfinite(value):
        raise StudyError(
            f"{where}: the outcome of {source!r} for {target!r} is {text!r}, no finite number",
            remedy="remove the line if the run failed: what is not listed counts as not measured",
        )
    return (_seed(where, seed), source, target), value


def _seed(where: str, cell: str) -> str:
    seed = parse_seed(cell)
    if seed is None:
        raise StudyError(f"{where}: seed is {cell!r}", remedy=SEED_RULE)
    return str(seed)


def _check_value(where: str, metric: str, value: float) -> None:
    against = objection(metric, value)
    if against:
        raise StudyError(f"{where} is {against[0]}", remedy=against[1])


def _seeds(file: OutcomeFile, baselines: Sequence[LabelledMatrix]) -> tuple[str, ...]:
    names = {seed for seed, _, _ in file.values}.union(*(table.rows for table in baselines))
    return tuple(sorted(names, key=int))


def _single_precision(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return values.astype(np.float32).astype(np.float64)
