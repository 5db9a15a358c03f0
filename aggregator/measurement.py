"""How people write down measured transfer: what a value and the number of a repetition may be."""

from typing import Final

SHARES: Final = ("auroc", "ba")
"""Metrics that lie between 0 and 1."""

MOST_SEEDS: Final = 2**31
SEED_RULE: Final = "use a whole number from 0, below 2,147,483,648"

_LARGEST = 1e6
_ROUNDING = 1e-6
_DIGITS = 10


def parse_number(cell: str) -> float | None:
    """Return the number in a cell, ``nan`` and ``inf`` among them; None where it holds something else."""
    if not cell.isascii() or "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def parse_seed(cell: str) -> int | None:
    """Return the number of a repetition; None where the cell holds something else."""
    if not (cell.isascii() and cell.isdecimal() and len(cell) <= _DIGITS):
        return None
    seed = int(cell)
    return seed if seed < MOST_SEEDS else None


def objection(metric: str, value: float) -> tuple[str, str] | None:
    """Return what speaks against a measured value, as problem and remedy; None if nothing does.

    Args:
        metric: Name of the metric in lower case.
        value: A finite number.
    """
    if metric in SHARES and not -_ROUNDING <= value <= 1 + _ROUNDING:
        return (
            f"{value:g}, but {metric} lies between 0 and 1",
            "give shares, not per cent: 0.93 instead of 93",
        )
    if abs(value) > _LARGEST:
        return (
            f"{value:g}, which no metric reaches",
            f"use a number between -{_LARGEST:,.0f} and {_LARGEST:,.0f}",
        )
    return None
