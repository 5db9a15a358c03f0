"""A CSV table of numbers with a name per row and per column."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aggregator.measurement import parse_number
from federation.errors import StudyError

SHRUNK = "@800"
"""A column ``T@800`` is target T reduced to 800 training images."""

_SHAPE = "the first line names the columns, the first cell of every other line its row"


@dataclass(frozen=True)
class LabelledMatrix:
    """Numbers with a name per row and per column.

    Args:
        path: The file they were read from.
        rows: Names of the rows, each once.
        columns: Names of the columns, each once.
        values: float64 [n_rows, n_columns], NaN where a cell is empty or ``nan``.
        corner: What stands above the names of the rows, often nothing.
    """

    path: Path
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    corner: str = ""

    @cached_property
    def row_index(self) -> Mapping[str, int]:
        """Position of every row."""
        return {name: i for i, name in enumerate(self.rows)}

    @cached_property
    def column_index(self) -> Mapping[str, int]:
        """Position of every column."""
        return {name: i for i, name in enumerate(self.columns)}

    def without(self, names: frozenset[str]) -> "LabelledMatrix":
        """Return the table without some of its columns."""
        kept = [i for i, name in enumerate(self.columns) if name not in names]
        return replace(self, columns=tuple(self.columns[i] for i in kept), values=self.values[:, kept])

    def target_column(self, task: str, not_shrunk: frozenset[str]) -> int | None:
        """Return the column that stands for a target: its 800-image version where it was measured on one.

        Args:
            task: Name of the target.
            not_shrunk: Targets that are always measured in full.
        """
        shrunk = None if task in not_shrunk else self.column_index.get(task + SHRUNK)
        return self.column_index.get(task) if shrunk is None else shrunk


def read_labelled_matrix(path: Path) -> LabelledMatrix:
    """Read a table of numbers.

    Raises:
        StudyError: If the table is empty, ragged or ambiguous, or a cell holds something else than a number.
    """
    lines = [line for line in read_csv(path) if any(line)]
    if len(lines) < 2 or len(lines[0]) < 2:
        raise StudyError(f"{path} holds no table", remedy=_SHAPE)
    columns, rows = lines[0][1:], [line[0] for line in lines[1:]]
    _check_unique(path, "column", columns)
    _check_unique(path, "row", rows)
    values = [_numbers(path, line, columns) for line in lines[1:]]
    return LabelledMatrix(path, tuple(rows), tuple(columns), np.array(values), lines[0][0])


def read_csv(path: Path) -> list[list[str]]:
    """Return the lines of a CSV file as stripped cells.

    Raises:
        StudyError: If the file cannot be read or is not CSV in UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [[cell.strip() for cell in line] for line in csv.reader(file)]
    except csv.Error as error:
        raise StudyError(
            f"{path} cannot be read: {error}",
            remedy="look for a quotation mark that is not closed; every line is one row of short cells",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read: {error}", remedy="save it as CSV in UTF-8") from error


def base_name(column: str) -> str:
    """Return the task that a column stands for."""
    return column.removesuffix(SHRUNK)


def _check_unique(path: Path, what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for place, name in enumerate(names, start=1):
        if not name:
            raise StudyError(f"{path}: {what} {place} has no name", remedy=_SHAPE)
        if name in seen:
            raise StudyError(f"{path} holds the {what} {name!r} twice", remedy="keep one of them")
        seen.add(name)


def _numbers(path: Path, line: Sequence[str], columns: Sequence[str]) -> list[float]:
    if len(line) != len(columns) + 1:
        raise StudyError(
            f"{path}: row {line[0]!r} has {len(line) - 1} values for {len(columns)} columns",
            remedy="give every row one cell per column; leave unknown cells empty",
        )
    return [_number(path, line[0], name, cell) for name, cell in zip(columns, line[1:], strict=True)]


def _number(path: Path, row: str, column: str, cell: str) -> float:
    number = parse_number(cell) if cell else math.nan
    if number is None:
        raise StudyError(
            f"{path}: row {row!r}, column {column!r} holds {cell!r}, which is not a number",
            remedy="correct the cell, or leave it empty if the value is unknown",
        )
    return number
