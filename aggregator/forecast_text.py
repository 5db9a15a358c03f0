"""Forecasts as text for the terminal and as JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding

from aggregator.recommend import SettingForecast
from aggregator.recommender import NO_TRANSFER, Forecast


def forecasts_json(found: Sequence[SettingForecast], top: int) -> list[dict[str, Any]]:
    """Return one dict per setting, with the first sources and no transfer."""
    return [
        {
            "scenario": each.setting.scenario,
            "metric": each.setting.metric,
            "n_targets": each.n_targets,
            "n_outcomes": each.n_outcomes,
            "sources": [_json(forecast) for forecast in each.first(top)],
        }
        for each in found
    ]


def forecasts_text(found: Sequence[SettingForecast], top: int) -> Group:
    """Return one block per setting, with the first sources and no transfer in their order."""
    return Group(*(part for each in found for part in _text(each, top)))


def _text(found: SettingForecast, top: int) -> Iterator[RenderableType]:
    setting = found.setting
    what = f"{setting.scenario_in_words}, gain in {setting.metric.upper()}"
    if found.n_outcomes:
        basis = f"learned from {found.n_outcomes} outcomes at {found.n_targets} other targets"
    else:
        basis = "nothing was measured at other targets: published experiments and distances alone"
    yield f"\n[bold]{escape(what)}[/bold] ({basis})"
    for forecast in found.first(top):
        if forecast.source == NO_TRANSFER:
            yield f" {forecast.rank:2d}  {NO_TRANSFER}  0 by definition"
            continue
        gain = f"[bold]{forecast.gain:+.3f}[/bold]  {_spread(forecast)}"
        yield f" {forecast.rank:2d}  {escape(forecast.source)}  {gain}"
        yield Padding(escape("; ".join(forecast.reasons)), (0, 0, 0, 5), expand=False)


def _spread(forecast: Forecast) -> str:
    interval = f"{forecast.level:.0%} within {forecast.low:+.3f} … {forecast.high:+.3f}"
    return f"[dim]{interval}, chance of harm {forecast.chance_of_harm:.0%}[/dim]"


def _json(forecast: Forecast) -> dict[str, Any]:
    return {
        "source": forecast.source,
        "rank": forecast.rank,
        "gain": forecast.gain,
        "interval": [forecast.low, forecast.high],
        "level": forecast.level,
        "chance_of_harm": forecast.chance_of_harm,
        "standing": forecast.standing if np.isfinite(forecast.standing) else None,
        "standing_deviation": forecast.deviation,
        "reasons": list(forecast.reasons),
    }
