"""What is wrong with a configuration, in the words of its file rather than of its programming language."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_SHOWN = 60

_EXPECTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda limit: f"more than {limit['gt']:g}",
    "greater_than_equal": lambda limit: f"at least {limit['ge']:g}",
    "less_than": lambda limit: f"less than {limit['lt']:g}",
    "less_than_equal": lambda limit: f"at most {limit['le']:g}",
    "literal_error": lambda choices: str(choices["expected"]),
    "enum": lambda choices: str(choices["expected"]),
    "union_tag_invalid": lambda choices: f"one of {choices['expected_tags']}",
    "finite_number": lambda _: "a number",
}
_EXPECTED_KINDS = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a table",
    "model": "a table",
    "path": "a path",
}


def describe(error: ValidationError, content: object) -> str:
    """Return every complaint of a validation, naming key, value and expectation, separated by semicolons.

    Args:
        error: What the validation found.
        content: What was validated.
    """
    complaints = error.errors()
    places = [_place(complaint, content) for complaint in complaints]
    by_place: dict[str, list[ErrorDetails]] = {}
    for place, complaint in zip(places, complaints, strict=True):
        # A list whose items are wrong is also called too short, which it is not.
        below = any(other.startswith((f"{place}.", f"{place}[")) for other in places)
        if not (complaint["type"] == "too_short" and below):
            by_place.setdefault(place, []).append(complaint)
    return "; ".join(_text(place, found) for place, found in by_place.items())


def _place(complaint: ErrorDetails, content: object) -> str:
    """Return the keys that lead to a value; entries of a list go by their name, or else their number.

    Steps that are not in the file, such as the variants of a union, are left out.
    """
    steps = complaint["loc"]
    place = ""
    for i, step in enumerate(steps):
        if isinstance(content, Mapping) and step in content:
            content, place = content[step], f"{place}.{step}"
        elif isinstance(content, list | tuple) and isinstance(step, int) and step < len(content):
            content = content[step]
            place += f"[{_name(content) or f'#{step + 1}'}]"
        elif complaint["type"] == "missing" and i == len(steps) - 1:
            place += f".{step}"
    if complaint["type"].startswith("union_tag"):
        place += "." + str(complaint["ctx"]["discriminator"]).strip("'")
    return place.removeprefix(".")


def _name(entry: object) -> str:
    if not isinstance(entry, Mapping):
        return ""
    name = entry.get("name", entry.get("task", ""))
    return name if isinstance(name, str) else ""


def _text(place: str, complaints: list[ErrorDetails]) -> str:
    """Return what is wrong at one place; the variants of a union each expect something else there."""
    first = complaints[0]
    value = first["input"]
    if first["type"] in ("missing", "union_tag_not_found"):
        return f"{place} is missing"
    if first["type"] == "extra_forbidden":
        return f"{place}: unknown key"
    if first["type"] == "too_short":
        return f"{place} has {len(value)} of at least {first['ctx']['min_length']} entries"
    if first["type"] == "union_tag_invalid":
        value = first["ctx"]["tag"]
    if isinstance(value, float) and math.isnan(value):
        return f"{place} is nan, which is no number"
    expected = [_expected(complaint) for complaint in complaints]
    if not all(expected):
        message = first["msg"].removeprefix("Value error, ")
        return f"{place}: {message}" if place else message
    return f"{place} is {_shown(value)}, expected {', or '.join(dict.fromkeys(expected))}"


def _expected(complaint: ErrorDetails) -> str:
    kind = complaint["type"]
    if kind in _EXPECTED:
        return _EXPECTED[kind](complaint.get("ctx", {}))
    return _EXPECTED_KINDS.get(kind.split("_")[0], "")


def _shown(value: object) -> str:
    if isinstance(value, Mapping | list | tuple):
        return "a table" if isinstance(value, Mapping) else "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
