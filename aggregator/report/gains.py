"""What past outcomes say about the sources of a task, for its card."""

from collections.abc import Mapping
from dataclasses import dataclass

from aggregator.recommend import SettingForecast
from aggregator.recommender import NO_TRANSFER, Forecast
from aggregator.report.advice import Advice

_N_SHOWN = 3


@dataclass(frozen=True)
class Gains:
    """The sources of one task in one setting.

    Args:
        title: Scenario and metric, in words.
        basis: What was learned from.
        advice: The first sources and no transfer, best first.
    """

    title: str
    basis: str
    advice: tuple[Advice, ...]


def gains(found: SettingForecast, places: Mapping[str, int]) -> Gains:
    """Return a forecast in words.

    Args:
        found: The forecast.
        places: Address → position in the matrix.
    """
    setting = found.setting
    return Gains(
        title=f"{setting.scenario_in_words.capitalize()}, {setting.metric.upper()}",
        basis=f"learned from {found.n_outcomes} outcomes at {found.n_targets} other targets",
        advice=tuple(_advice(each, places) for each in found.first(_N_SHOWN)),
    )


def _advice(forecast: Forecast, places: Mapping[str, int]) -> Advice:
    if forecast.source == NO_TRANSFER:
        return Advice(forecast.rank, NO_TRANSFER, None, "0", ())
    spread = f"{forecast.level:.0%} within {_signed(forecast.low)} … {_signed(forecast.high)}"
    harm = f"chance of harm {forecast.chance_of_harm:.0%}"
    place = places.get(forecast.source)
    return Advice(
        forecast.rank, forecast.source, place, _signed(forecast.gain), (spread, harm, *forecast.reasons)
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
