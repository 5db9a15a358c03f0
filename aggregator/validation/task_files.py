"""What a study says about its tasks: ``tasks.json`` and, if there, ``task_infos.csv``."""

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator.study import TaskFacts
from aggregator.validation.labelled_matrix import read_csv
from federation.errors import StudyError


@dataclass(frozen=True)
class TaskList:
    """The content of ``tasks.json``.

    Args:
        path: The file it was read from.
        targets: The tasks whose recommendations are judged.
        groups: Group name to the tasks that share images.
        not_shrunk: Targets that were measured on all their images although others were reduced to 800.
    """

    path: Path
    targets: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    not_shrunk: frozenset[str]


def read_task_list(path: Path) -> TaskList:
    """Read ``tasks.json``: a list ``targets`` and, optionally, ``groups`` and ``not_shrunk``.

    Raises:
        StudyError: If the file is missing, is not JSON, or names a target twice or no target.
    """
    content = _read_object(path)
    targets = _names(path, "targets", content.get("targets"))
    twice = [task for i, task in enumerate(targets) if task in targets[:i]]
    if twice or not targets:
        what = f"names the target {twice[0]!r} twice" if twice else "names no targets"
        raise StudyError(f"{path} {what}", remedy='list every target once under "targets"')
    groups = content.get("groups", {})
    if not isinstance(groups, dict):
        raise _malformed(path, "groups", groups, "an object of lists of task names")
    return TaskList(
        path,
        targets,
        {name: _names(path, f"groups.{name}", members) for name, members in groups.items()},
        frozenset(_names(path, "not_shrunk", content.get("not_shrunk", []))),
    )


def read_facts(path: Path) -> dict[str, TaskFacts]:
    """Read ``task_infos.csv``; columns that are missing and cells that say nothing stay unknown.

    Raises:
        StudyError: If the table has no column ``name`` or describes a task twice.
    """
    lines = [line for line in read_csv(path) if any(line)]
    header = lines[0] if lines else []
    if "name" not in header:
        raise StudyError(f"{path} has no column 'name'", remedy="name the task of every row in it")
    facts: dict[str, TaskFacts] = {}
    for line in lines[1:]:
        row = dict(zip(header, line, strict=False))
        if row["name"] in facts:
            raise StudyError(f"{path} describes {row['name']!r} twice", remedy="keep one of the rows")
        facts[row["name"]] = _facts(row)
    return facts


def _facts(row: Mapping[str, str]) -> TaskFacts:
    return TaskFacts(
        num_classes=_number(row.get("num_classes", "")),
        num_samples=_number(row.get("num_samples", "")),
        domain=row.get("domains", row.get("domain", "")),
        keywords=_keywords(row.get("keywords", "")),
        imbalance=_number(row.get("imbalance_ratios", row.get("imbalance", ""))),
        dimension=_number(row.get("dimensions", row.get("dimension", ""))),
    )


def _number(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _keywords(cell: str) -> frozenset[str]:
    """Read a list as Python or JSON writes it, or words between semicolons."""
    try:
        words = ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        words = cell.split(";")
    if not isinstance(words, list | tuple | set):
        words = [words]
    return frozenset(word for word in (str(each).strip() for each in words) if word)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise StudyError(
            f"{path} is missing", remedy='write it: {"targets": [...], "groups": {"name": [...]}}'
        ) from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is not readable JSON: {error}", remedy="correct the file") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} holds no JSON object", remedy='write {"targets": [...]}')
    return content


def _names(path: Path, key: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise _malformed(path, key, value, "a list of task names")
    return tuple(value)


def _malformed(path: Path, key: str, value: object, expected: str) -> StudyError:
    return StudyError(f"{path}: {key!r} is {str(value)[:60]!r}", remedy=f"make it {expected}")
