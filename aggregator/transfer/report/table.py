"""A table with names for programs and numbers to full precision: CSV, JSON and Markdown of the same rows."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Args:
        name: Name of its file, without ending.
        title: What it shows, one line.
        columns: Names of the columns.
        rows: One cell per column; NaN and None stand for what is not known.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """Return the table as CSV; what is not known is empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(["" if _unknown(cell) else cell for cell in row] for row in self.rows)
        return text.getvalue()

    def to_json(self) -> list[Mapping[str, Cell]]:
        """Return one object per row; what is not known is null."""
        return [
            {name: None if _unknown(cell) else cell for name, cell in zip(self.columns, row, strict=True)}
            for row in self.rows
        ]

    def to_markdown(self) -> str:
        """Return the table under its title, with rounded numbers."""
        lines = [self.columns, ["---"] * len(self.columns), *self.shown()]
        drawn = "\n".join("| " + " | ".join(map(_escape, line)) + " |" for line in lines)
        return f"## {self.title}\n\n{drawn}\n"

    def shown(self) -> list[list[str]]:
        """Return the cells as people read them."""
        return [[say(cell) for cell in row] for row in self.rows]


def say(cell: Cell) -> str:
    """Return a cell as people read it: four digits, a true minus, a dash where it is not known."""
    if cell is None or _unknown(cell):
        return "–"
    if isinstance(cell, float):
        return f"{cell:.4g}".replace("-", "−") if abs(cell) < 1e5 else f"{cell:,.0f}"
    return str(cell)


def interval(ends: Sequence[float]) -> str:
    """Return an interval in words."""
    low, high = ends
    return f"{say_signed(low)} … {say_signed(high)}" if math.isfinite(low + high) else "–"


def say_signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign and a true minus; a dash where it is not known."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def say_percent(value: float, digits: int = 1) -> str:
    """Return a share in per cent with its sign; a dash where it is not known."""
    return f"{say_signed(100 * value, digits)} %" if math.isfinite(value) else "–"


def _unknown(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and not math.isfinite(cell))


def _escape(text: str) -> str:
    plain = " ".join(text.split()).replace("\\", "\\\\")
    for sign in "|*_`[]<>#":
        plain = plain.replace(sign, f"\\{sign}")
    return plain
