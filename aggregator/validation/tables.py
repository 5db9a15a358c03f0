"""Results as tables for the terminal and as JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from aggregator.recommender.calibration import LEVELS, Calibration
from aggregator.study import Setting
from aggregator.validation.drawing import by_weighted_tau, say_signed
from aggregator.validation.evaluate import Result
from aggregator.validation.selectors import NO_TRANSFER, RANDOM, RECOMMENDER

HEADINGS = (
    "selector",
    "weighted τ",
    "95 % interval",
    "Spearman",
    "percentile@3",
    "regret@3",
    "gain@3",
    "better than no transfer, best of 1…5",
    "harm@1",
    "win rate",
)
"""Columns of the table of a setting."""


def results_json(
    results: Sequence[Result], calibrations: Mapping[Setting, Calibration] | None = None
) -> dict[str, Any]:
    """Return ``{"results": [...]}``, one entry per selector and setting, free of NaN.

    Args:
        results: What is to be told.
        calibrations: How well the forecasts of the recommender held; goes into its entries.
    """
    return {"results": [{**each.to_json(), **_calibration(each, calibrations or {})} for each in results]}


def by_setting(results: Sequence[Result]) -> dict[Setting, list[Result]]:
    """Return the results of every setting, in the order of the settings."""
    grouped: dict[Setting, list[Result]] = {}
    for result in results:
        grouped.setdefault(result.setting, []).append(result)
    return grouped


def results_tables(results: Sequence[Result]) -> Group:
    """Return one table per setting, highest weighted tau first, with what chance would give above it."""
    parts: list[RenderableType] = []
    for setting, group in by_setting(results).items():
        parts += [f"\n[bold]{escape(say_setting(setting))}[/bold]: {say_chance(group)}", _table(group)]
    return Group(*parts)


def calibration_table(calibrations: Mapping[Setting, Calibration]) -> Group:
    """Return how well intervals and chances of harm held on targets that were never measured."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = [f"inside {level:.0%}" for level in LEVELS]
    headings += ["Brier of harm", "base rate", "harm if followed", "advised against", "error of gain"]
    for i, heading in enumerate(["setting", *headings]):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    for setting, each in calibrations.items():
        shares = [_say(each.coverage[level]) for level in LEVELS]
        figures = [each.brier, each.brier_base_rate, each.advice_harm_rate, each.abstention_rate]
        errors = [f"{figure:.3f}" if math.isfinite(figure) else "–" for figure in [*figures, each.gain_error]]
        table.add_row(say_setting(setting), *shares, *errors)
    return Group("\n[bold]The recommender's forecasts on targets it has never seen[/bold]", table)


def _calibration(result: Result, calibrations: Mapping[Setting, Calibration]) -> dict[str, Any]:
    found = calibrations.get(result.setting) if result.selector == RECOMMENDER else None
    return found.to_json() if found else {}


def say_setting(setting: Setting) -> str:
    """Return scenario and metric in words."""
    return f"{setting.scenario_in_words}, {setting.metric.upper()}"


def say_chance(results: Sequence[Result]) -> str:
    """Return the number of targets and the level that random choice reaches in a setting."""
    chance = next(each for each in results if each.selector == RANDOM)
    if not chance.n_targets:
        return "no target has two sources to choose between"
    level = chance.intervals["weighted_tau"][1]
    said = [
        f"{chance.n_targets} targets",
        f"chance: weighted τ 0 (95 % of random rankings within ±{level:.2f})",
        f"percentile@3 {_say(chance.means['percentile_at_3'])}",
    ]
    rates = chance.improvement_rate
    if math.isfinite(rates[0]):
        said.append(f"better than no transfer {_say(rates[0])} in one try, {_say(rates[-1])} in {len(rates)}")
    return ", ".join(said)


def cells(result: Result) -> list[str]:
    """Return a result as text under ``HEADINGS``."""
    means, (low, high) = result.means, result.intervals["weighted_tau"]
    return [
        result.selector,
        say_signed(means["weighted_tau"], 3),
        f"{say_signed(low)} … {say_signed(high)}" if math.isfinite(low) else "–",
        say_signed(means["spearman"], 3),
        _say(means["percentile_at_3"]),
        _say(means["regret_at_3"]),
        say_signed(means["delta_at_3"], 3),
        "  ".join(map(_say, result.improvement_rate)) if math.isfinite(result.improvement_rate[0]) else "–",
        _say(means["negative_transfer_rate"]),
        _say(result.win_rate),
    ]


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    for result in by_weighted_tau(results):
        style = "dim" if result.selector in (RANDOM, NO_TRANSFER) else None
        table.add_row(*map(escape, cells(result)), style=style)
    return table


def _say(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"
