"""The similarity matrix as cells: what stands in each, and how near its colour says it is."""

import base64
import csv
import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregator.report.clustering import Clustering, cluster, dissimilarity, ranks_within_target
from aggregator.report.data import Matrix, ReportData
from aggregator.report.palette import N_LEVELS
from aggregator.report.words import say_uncertain, say_value
from federation.ranking import not_told_apart

_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_NO_LEVEL = "-"


@dataclass(frozen=True)
class Cell:
    """One pair, as the page shows it before anyone touches a switch.

    Args:
        css: Class of the cell: a level ``k0`` to ``k31``, ``me`` on the diagonal, ``na`` without value;
            and ``tied`` where noise cannot tell the source from the target's nearest.
        rank: Rank of the source for the target, ``≈`` before it where it is tied, empty without one.
        value: The distance in words, with its standard error where noise moves it.
    """

    css: str
    rank: str
    value: str


@dataclass(frozen=True, eq=False)
class Heatmap:
    """One distance between all tasks.

    Args:
        name: Name of the distance.
        matrix: float64 [T, T], rows sources, columns targets.
        errors: float64 [T, T], what noise makes of the values, NaN where unknown; None without noise.
    """

    name: str
    matrix: Matrix
    errors: Matrix | None = None

    @cached_property
    def unlike(self) -> Matrix:
        """float64 [T, T], the symmetric dissimilarity in [0, 1] that orders and places tasks."""
        return dissimilarity(self.matrix)

    @cached_property
    def clustering(self) -> Clustering:
        """Order of rows and columns, and the tree above them."""
        return cluster(self.unlike)

    @cached_property
    def ranks(self) -> Matrix:
        """float64 [T, T], rank of a source for a target; equal distances share the best one."""
        return ranks_within_target(self.matrix)

    @cached_property
    def rank_levels(self) -> str:
        """Colour level of every pair by rank within its target, one character each, row by row.

        The level grows with the square root of the rank: the first ranks are the ones that matter.
        """
        place = ranks_within_target(self.matrix, ties="average") - 1.0
        last = np.maximum(np.isfinite(place).sum(axis=0) - 1.0, 1.0)
        return _level_characters(np.sqrt(place / last))

    @cached_property
    def tied(self) -> npt.NDArray[np.bool_]:
        """Bool [T, T]: sources that noise cannot tell from the target's nearest, and that nearest itself."""
        tied = np.zeros(self.matrix.shape, dtype=bool)
        if self.errors is None:
            return tied
        others = np.where(np.isfinite(self.ranks), self.matrix, np.inf)
        for target, nearest in enumerate(others.argmin(axis=0) if len(others) else ()):
            close = not_told_apart(others[:, target], self.errors[:, target], int(nearest))
            close[nearest] = close.any()
            tied[:, target] = close
        return tied

    @cached_property
    def value_levels(self) -> str:
        """Colour level of every pair by value over the whole matrix; the diagonal is clipped to it."""
        low, high = self._span
        if not high > low:
            return _level_characters(np.where(np.isfinite(self.matrix), 0.5, np.nan))
        # Halved, because the difference of two representable distances may not be representable.
        share = (self.matrix / 2 - low / 2) / (high / 2 - low / 2)
        return _level_characters(np.clip(np.where(np.isfinite(self.matrix), share, np.nan), 0.0, 1.0))

    @property
    def value_scale(self) -> tuple[str, str, str]:
        """Values of the first, middle and last colour level, in words."""
        low, high = self._span
        return say_value(low), say_value(low / 2 + high / 2), say_value(high)

    @property
    def rank_scale(self) -> tuple[str, str, str]:
        """Ranks of the first, middle and last colour level, in words."""
        last = len(self.matrix) - 1
        return ("rank 1", str(round(1 + (last - 1) / 4)), str(last)) if last > 1 else ("rank 1", "", "")

    @property
    def self_distances(self) -> tuple[str, str] | None:
        """Smallest and largest distance of a task to itself; None if all are zero, up to rounding."""
        own = np.diag(self._shown)
        own = own[np.isfinite(own)]
        return (say_value(own.min()), say_value(own.max())) if own.any() else None

    def rows(self) -> list[list[Cell]]:
        """Return the cells in clustered order, coloured by rank."""
        order = self.clustering.order
        return [[self.cell(source, target) for target in order] for source in order]

    def payload(self) -> dict[str, Any]:
        """Return what the page needs to show this distance instead of another, ready for JSON."""
        return {
            "order": list(self.clustering.order),
            "tree": self.clustering.tree,
            "scales": {"ranks": list(self.rank_scale), "values": list(self.value_scale)},
            "values": [say_value(value) for value in self._shown.ravel()],
            "errors": [f" ± {error:.1g}" if error > 0 else "" for error in self._errors.ravel()],
            "tied": "".join("1" if tied else "0" for tied in self.tied.ravel()),
            "ranks": [int(rank) for rank in np.nan_to_num(self.ranks).ravel()],
            "rankLevels": self.rank_levels,
            "valueLevels": self.value_levels,
        }

    @cached_property
    def _span(self) -> tuple[float, float]:
        others = self.matrix[~np.eye(len(self.matrix), dtype=bool)]
        others = others[np.isfinite(others)]
        return (float(others.min()), float(others.max())) if len(others) else (np.nan, np.nan)

    @cached_property
    def _shown(self) -> Matrix:
        """float64 [T, T], the values without what rounding leaves of a task's distance to itself."""
        rounding = max(1e-6 * np.nan_to_num(np.abs(self._span)).max(), 1e-12)
        nothing = np.eye(len(self.matrix), dtype=bool) & (np.abs(self.matrix) <= rounding)
        return np.where(nothing, 0.0, self.matrix)

    @property
    def _errors(self) -> Matrix:
        return np.zeros(self.matrix.shape) if self.errors is None else np.nan_to_num(self.errors)

    def cell(self, source: int, target: int) -> Cell:
        """Return one pair in words, coloured by rank."""
        level = self.rank_levels[source * len(self.matrix) + target]
        css = "me" if source == target else "na" if level == _NO_LEVEL else f"k{int(level, 32)}"
        tied, rank = self.tied[source, target], self.ranks[source, target]
        said = "" if np.isnan(rank) else f"{'≈' if tied else ''}{int(rank)}"
        value = say_uncertain(float(self._shown[source, target]), float(self._errors[source, target]))
        return Cell(f"{css} tied" if tied else css, said, value)


def heatmaps(report: ReportData) -> list[Heatmap]:
    """Return a heat map per distance, the primary one first, the others by name."""
    names = sorted(report.matrices, key=lambda name: (name != report.distance, name))
    errors = report.standard_errors
    return [Heatmap(name, np.asarray(report.matrices[name], float), errors.get(name)) for name in names]


def csv_address(matrix: Matrix, keys: list[str]) -> str:
    """Return a matrix as a ``data:`` address of a CSV file, values in full precision.

    Args:
        matrix: float64 [T, T], rows sources, columns targets.
        keys: Addresses of the tasks, in the order of the matrix.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [_inert(key) for key in keys]
    table.writerow(["source \\ target", *names])
    table.writerows([name, *map(repr, row)] for name, row in zip(names, matrix.tolist(), strict=True))
    return (
        "data:text/csv;charset=utf-8;base64,"
        + base64.b64encode(text.getvalue().encode(errors="replace")).decode()
    )


def _inert(text: str) -> str:
    """A spreadsheet runs a cell that begins with one of these characters as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _level_characters(share: Matrix) -> str:
    """Shares in [0, 1] as base-32 digits, NaN as a dash."""
    levels = np.round(np.nan_to_num(share) * (N_LEVELS - 1)).astype(int)
    return "".join(
        _NO_LEVEL if missing else _DIGITS[level]
        for level, missing in zip(levels.ravel(), np.isnan(share).ravel(), strict=True)
    )
