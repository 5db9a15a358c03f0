"""Distance against gain, one small drawing per distance, as in the papers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aggregator.study import Floats, Mask, Setting, Study
from aggregator.transfer.report.hypotheses import alike
from aggregator.transfer.report.statistics import pooled_correlation
from aggregator.transfer.report.table import say_signed
from aggregator.validation.drawing import Tick
from federation.task_card import TaskCard

WIDTH, HEIGHT = 252.0, 190.0
_LEFT, _RIGHT, _TOP, _FOOT = 42.0, 246.0, 22.0, 164.0
_INSIDE, _OUTSIDE, _UNKNOWN = "inside", "outside", "unknown"


@dataclass(frozen=True)
class Panel:
    """One distance.

    Args:
        name: Name of the distance.
        dots: Style → path whose round ends are the points; inside and outside a modality, or unknown.
        correlation: Spearman's correlation over all pairs, in words.
        n_pairs: Number of points.
        across: Ends of the axis of the distance.
        up: Ticks of the axis of the gain.
        zero: Height of no gain.
    """

    name: str
    dots: Mapping[str, str]
    correlation: str
    n_pairs: int
    across: tuple[str, str]
    up: tuple[Tick, ...]
    zero: float


@dataclass(frozen=True)
class Scatter:
    """All distances of one setting.

    Args:
        setting: Scenario and metric.
        panels: One drawing per distance.
        width: Width of a drawing, in pixels.
        height: Its height.
        left: Where its axes begin.
        right: Where they end.
        top: Their upper end.
        foot: Their lower end.
    """

    setting: Setting
    panels: tuple[Panel, ...]
    width: float = WIDTH
    height: float = HEIGHT
    left: float = _LEFT
    right: float = _RIGHT
    top: float = _TOP
    foot: float = _FOOT


def scatter(study: Study, setting: Setting, cards: Mapping[str, TaskCard]) -> Scatter | None:
    """Return the drawings of one setting; None where no pair has a gain.

    Args:
        study: Tasks, distances and what was measured.
        setting: Scenario and metric.
        cards: Address → card; points are told apart by their modalities.
    """
    outcomes = study.outcomes[setting]
    base = outcomes.mean_baseline[None, :]
    gain = np.where(study.allowed, outcomes.gain, np.nan)
    relative = 100 * gain / np.where(base, base, np.nan)
    if not np.isfinite(relative).any():
        return None
    same, said = alike(cards, study.tasks, "modality")
    kinds = {_OUTSIDE: said & ~same, _INSIDE: said & same, _UNKNOWN: ~said}
    panels = [_panel(name, values, relative, kinds) for name, values in study.distances.items()]
    return Scatter(setting, tuple(panel for panel in panels if panel is not None))


def _panel(name: str, distance: Floats, gain: Floats, kinds: Mapping[str, Mask]) -> Panel | None:
    known = np.isfinite(distance) & np.isfinite(gain)
    if not known.any():
        return None
    steps = _steps(float(gain[known].min()), float(gain[known].max()))
    low, high = float(distance[known].min()), float(distance[known].max())
    x = _LEFT + 6 + (_RIGHT - _LEFT - 12) * (distance - low) / ((high - low) or 1.0)
    y = _FOOT - (_FOOT - _TOP) * (gain - steps[0]) / (steps[-1] - steps[0])
    dots = {
        kind: "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(x[known & mask], y[known & mask], strict=True))
        for kind, mask in kinds.items()
    }
    height = {
        step: round(_FOOT - (_FOOT - _TOP) * (step - steps[0]) / (steps[-1] - steps[0]), 1) for step in steps
    }
    return Panel(
        name=name,
        dots={kind: path for kind, path in dots.items() if path},
        correlation=f"ρ = {say_signed(pooled_correlation(distance[known], gain[known]), 2)}",
        n_pairs=int(known.sum()),
        across=(f"{low:.3g}", f"{high:.3g}"),
        up=tuple(Tick(at, f"{step:+g}".replace("-", "−").replace("+0", "0")) for step, at in height.items()),
        zero=height[0.0],
    )


def _steps(low: float, high: float) -> list[float]:
    """Three to six multiples of a round step that enclose both ends and zero, in per cent."""
    low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    unit = 10.0 ** math.floor(math.log10(span / 2))
    step = next(unit * m for m in (1.0, 2.0, 5.0, 10.0) if span / (unit * m) <= 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) + 0.0 for i in range(first, max(last, first + 1) + 1)]
