"""Suggestions for people, for programs, and as a piece of a plan that can be run."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from aggregator.report.words import sentence
from aggregator.transfer.report.ran import say_duration
from aggregator.transfer.report.table import Table, say_signed
from aggregator.transfer.suggest import Suggestion


def suggestion_table(suggestions: Sequence[Suggestion]) -> Table:
    """Return the suggestions as a table, best first."""
    rows = tuple(
        (
            *(rank, s.scenario, s.metric, s.source, s.target, s.improvement, s.gain, s.low, s.high),
            *(s.seconds, "; ".join(s.reasons)),
        )
        for rank, s in enumerate(suggestions, start=1)
    )
    columns = (
        *("rank", "scenario", "metric", "source", "target", "improvement", "gain", "low", "high"),
        *("seconds", "reasons"),
    )
    return Table("suggestions", "What to try next", columns, rows)


def suggestions_json(suggestions: Sequence[Suggestion]) -> dict[str, Any]:
    """Return ``{"suggestions": [...]}``, best first, free of NaN."""
    listed = [
        {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(each).items()
        }
        for each in suggestions
    ]
    return {"suggestions": listed}


def say_suggestion(suggestion: Suggestion) -> str:
    """Return a suggestion in one sentence or two."""
    s = suggestion
    took = "" if math.isnan(s.seconds) else f", about {say_duration(s.seconds)} per seed"
    return (
        f"{s.source} → {s.target}, {s.scenario.replace('_', '-')}: {s.metric.upper()} "
        f"{say_signed(s.gain)} expected, 80 % within {say_signed(s.low)} … {say_signed(s.high)}{took}. "
        f"{sentence('; '.join(s.reasons))}."
    )


def plan_snippet(suggestions: Sequence[Suggestion]) -> str:
    """Return the suggestions as lines for PLAN.toml; empty where there is none.

    A plan runs all its scenarios on all its pairs: split suggestions of several scenarios by scenario.
    """
    if not suggestions:
        return ""
    listed = {
        "scenarios": list(dict.fromkeys(s.scenario for s in suggestions)),
        "targets": sorted({s.target for s in suggestions}),
        "sources": sorted({s.source for s in suggestions}),
    }
    pairs = sorted({(s.source, s.target) for s in suggestions})
    lines = [f"{key} = {json.dumps(value)}" for key, value in listed.items()]
    cells = "".join(f"    {json.dumps(list(pair))},\n" for pair in pairs)
    return "\n".join([*lines, f"pairs = [  # source, target\n{cells}]", ""])
