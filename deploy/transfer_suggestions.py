"""Suggested experiments, for people and programs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from aggregator.transfer.suggest import Suggestion
from deploy.transfer_display import say_time


def suggestion_json(found: Suggestion) -> dict[str, Any]:
    """Return a suggestion as JSON can hold it."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(found).items()
    }


def suggestion_lines(found: Sequence[Suggestion]) -> Iterator[str]:
    """Yield every suggestion with its reasons, and how to run them."""
    if not found:
        yield "nothing to suggest: every pair that policies allow was measured"
        return
    for place, each in enumerate(found, start=1):
        cost = f", about {say_time(each.seconds)} per seed" if math.isfinite(each.seconds) else ""
        scenario, metric = each.scenario.replace("_", "-"), each.metric.upper()
        yield f"{place}. {scenario}: {each.source} → {each.target}{cost}"
        yield f"   expected gain {each.gain:+.3f} {metric}, 80 % between {each.low:+.3f} and {each.high:+.3f}"
        yield f"   {'; '.join(each.reasons)}"
    pairs = dict.fromkeys((each.source, each.target) for each in found)
    yield "in a plan:"
    yield f"pairs = [{', '.join(_pair(source, target) for source, target in pairs)}]"


def _pair(source: str, target: str) -> str:
    return f'["{source}", "{target}"]'
