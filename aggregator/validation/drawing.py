"""Two drawings of a setting: intervals of weighted tau, and improvement against number of tries."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from aggregator.validation.evaluate import Result
from aggregator.validation.selectors import LARGEST_SOURCE, NO_TRANSFER, RANDOM

_ROW, _TOP, _FOOT = 21.0, 10.0, 36.0
_NAMES, _FOREST_WIDTH, _VALUES = 190.0, 620.0, 46.0
_CURVE_WIDTH, _CURVE_HEIGHT, _CURVE_LEFT, _CURVE_LABELS = 520.0, 330.0, 44.0, 168.0
_LABEL_GAP = 15.0
_N_STRONGEST = 2

QUIET = "quiet"
"""Style of a curve that is drawn without its name."""


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in pixels, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class ForestRow:
    """One selector: its mean and interval in pixels, and whether it lies beyond chance."""

    name: str
    y: float
    x: float
    low: float
    high: float
    value: str
    beyond_chance: bool


@dataclass(frozen=True)
class Forest:
    """Weighted tau with interval per selector; the band is where random rankings fall."""

    width: float
    height: float
    left: float
    foot: float
    zero: float
    band: tuple[float, float]
    rows: tuple[ForestRow, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Curve:
    """Improvement rate of one selector by number of tries; quiet ones have no label."""

    name: str
    points: str
    css: str
    end: tuple[float, float]
    label_y: float


@dataclass(frozen=True)
class Curves:
    """Improvement rate by number of tries for every selector."""

    width: float
    height: float
    left: float
    right: float
    foot: float
    curves: tuple[Curve, ...]
    shots: tuple[Tick, ...]
    rates: tuple[Tick, ...]


def forest(results: Sequence[Result]) -> Forest | None:
    """Return the forest plot of one setting, best selector first; None if no weighted tau is defined.

    Args:
        results: All results of a setting.
    """
    shown = [each for each in by_weighted_tau(results) if math.isfinite(each.means["weighted_tau"])]
    if not shown:
        return None
    spans = [_span(each) for each in shown]
    steps = _steps(min(low for low, _ in spans), max(high for _, high in spans))
    left, right = _NAMES + 10, _FOREST_WIDTH - _VALUES

    def place(value: float) -> float:
        return round(left + (right - left) * (value - steps[0]) / (steps[-1] - steps[0]), 1)

    chance = next((_span(each) for each in shown if each.selector == RANDOM), (0.0, 0.0))
    rows = [
        ForestRow(
            name=each.selector,
            y=_TOP + _ROW * (i + 0.5),
            x=place(each.means["weighted_tau"]),
            low=place(span[0]),
            high=place(span[1]),
            value=say_signed(each.means["weighted_tau"]),
            beyond_chance=each.selector != RANDOM and (span[0] > 0 or span[1] < 0),
        )
        for i, (each, span) in enumerate(zip(shown, spans, strict=True))
    ]
    foot = _TOP + _ROW * len(rows)
    ticks = tuple(Tick(place(step), say_signed(step, 1)) for step in steps)
    band = (place(chance[0]), place(chance[1]))
    return Forest(_FOREST_WIDTH, foot + _FOOT, _NAMES, foot, place(0.0), band, tuple(rows), ticks)


def curves(results: Sequence[Result]) -> Curves | None:
    """Return the improvement curves of one setting; None if no baseline is known.

    Args:
        results: All results of a setting.
    """
    shown = [
        each
        for each in by_weighted_tau(results)
        if each.selector != NO_TRANSFER and math.isfinite(sum(each.improvement_rate))
    ]
    if not shown:
        return None
    right, foot = _CURVE_WIDTH - _CURVE_LABELS, _CURVE_HEIGHT - _FOOT
    n_shots = len(shown[0].improvement_rate)
    across = [_CURVE_LEFT + (right - _CURVE_LEFT) * i / (n_shots - 1) for i in range(n_shots)]
    lowest = math.floor(10 * min(min(each.improvement_rate) for each in shown) - 1e-9)
    first = min(max(lowest, 0), 8)

    def height(rate: float) -> float:
        return round(foot - (foot - _TOP) * (10 * rate - first) / (10 - first), 1)

    loud = _loud(shown)
    drawn = [_curve(each, across, height, loud.get(each.selector, QUIET)) for each in shown]
    named = [curve for curve in drawn if curve.css != QUIET]
    return Curves(
        width=_CURVE_WIDTH,
        height=_CURVE_HEIGHT,
        left=_CURVE_LEFT,
        right=right,
        foot=foot,
        curves=(*(curve for curve in drawn if curve.css == QUIET), *_with_labels_apart(named, foot)),
        shots=tuple(Tick(round(x, 1), str(i + 1)) for i, x in enumerate(across)),
        rates=tuple(Tick(height(tenth / 10), f"{10 * tenth} %") for tenth in range(first, 11)),
    )


def by_weighted_tau(results: Sequence[Result]) -> list[Result]:
    """Return the results with the highest weighted tau first, undefined ones last."""
    return sorted(results, key=lambda each: -_or_lowest(each.means["weighted_tau"]))


def say_signed(value: float, digits: int = 2) -> str:
    """Return a correlation or gain with its sign, ``–`` where undefined."""
    if math.isnan(value):
        return "–"
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _or_lowest(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _span(result: Result) -> tuple[float, float]:
    low, high = result.intervals["weighted_tau"]
    mean = result.means["weighted_tau"]
    return (low, high) if math.isfinite(low + high) else (mean, mean)


def _steps(low: float, high: float) -> list[float]:
    """Multiples of a round step that enclose both ends and zero."""
    low, high = min(low, -0.1), max(high, 0.1)
    step = 0.1 if high - low <= 0.8 else 0.2
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 1) for i in range(first, last + 1)]


def _loud(shown: Sequence[Result]) -> dict[str, str]:
    """Which curves are named, and in which colour: the strongest rankings and the rules to beat."""
    rules = {RANDOM: "rule", LARGEST_SOURCE: "rule dotted"}
    strongest = [
        each.selector
        for each in shown
        if each.selector not in rules and math.isfinite(each.means["weighted_tau"])
    ]
    present = {each.selector for each in shown}
    named = {name: f"strong s{i}" for i, name in enumerate(strongest[:_N_STRONGEST])}
    return named | {name: css for name, css in rules.items() if name in present}


def _curve(result: Result, across: Sequence[float], height: Callable[[float], float], css: str) -> Curve:
    heights = [height(rate) for rate in result.improvement_rate]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, heights, strict=True))
    return Curve(result.selector, points, css, (round(across[-1], 1), heights[-1]), heights[-1])


def _with_labels_apart(named: Sequence[Curve], foot: float) -> list[Curve]:
    """Move labels apart, downwards from the highest, none below the axis."""
    placed, free = [], _TOP
    for i, curve in enumerate(sorted(named, key=lambda each: each.end[1])):
        lowest = foot - _LABEL_GAP * (len(named) - 1 - i)
        label_y = min(max(curve.end[1], free), lowest)
        placed.append(replace(curve, label_y=round(label_y, 1)))
        free = label_y + _LABEL_GAP
    return placed
