"""What a study says about its tasks: ``tasks.json`` and, if there, ``task_infos.csv``."""

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from aggregator.measurement import parse_number
from aggregator.study import TaskFacts
from aggregator.validation.labelled_matrix import read_csv
from federation.errors import StudyError

_KEYS = ("targets", "groups", "not_shrunk")
_MOST = 1e12


@dataclass(frozen=True)
class TaskList:
    """The content of ``tasks.json``.

    Args:
        path: The file it was read from.
        targets: The tasks whose recommendations are judged.
        groups: Group name to the tasks that share images.
        not_shrunk: Targets that were measured on all their images although others were reduced to 800.
        unread: Further keys of the file, which nothing reads.
    """

    path: Path
    targets: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    not_shrunk: frozenset[str]
    unread: tuple[str, ...] = ()


def read_task_list(path: Path) -> TaskList:
    """Read ``tasks.json``: a list ``targets`` and, optionally, ``groups`` and ``not_shrunk``.

    Raises:
        StudyError: If the file is missing, is not JSON, misspells a key, or names a target twice or no
            target.
    """
    content = _read_object(path)
    unread = _unread(path, content)
    targets = _names(path, "targets", content.get("targets"))
    twice = [task for i, task in enumerate(targets) if task in targets[:i]]
    if twice or not targets:
        what = f"names the target {twice[0]!r} twice" if twice else "names no targets"
        raise StudyError(f"{path} {what}", remedy='list every target once under "targets"')
    groups = {} if content.get("groups") is None else content["groups"]
    if not isinstance(groups, dict):
        raise _malformed(path, "groups", groups, "an object of lists of task names")
    return TaskList(
        path,
        targets,
        {name: _names(path, f"groups.{name}", members) for name, members in groups.items()},
        frozenset(_names(path, "not_shrunk", content.get("not_shrunk", []))),
        unread,
    )


def read_facts(path: Path) -> dict[str, TaskFacts]:
    """Read ``task_infos.csv``; columns that are missing and cells that are empty or ``nan`` stay unknown.

    Raises:
        StudyError: If the table has no column ``name``, describes a task twice, or holds an impossible
            number.
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
        facts[row["name"]] = _facts(path, row)
    return facts


def _facts(path: Path, row: Mapping[str, str]) -> TaskFacts:
    return TaskFacts(
        num_classes=_number(path, row, "num_classes"),
        num_samples=_number(path, row, "num_samples"),
        domain=row.get("domains", row.get("domain", "")),
        keywords=_keywords(row.get("keywords", "")),
        imbalance=_number(path, row, "imbalance_ratios", "imbalance"),
        dimension=_number(path, row, "dimensions", "dimension"),
    )


def _number(path: Path, row: Mapping[str, str], *columns: str) -> float:
    column = next((column for column in columns if column in row), "")
    cell = row.get(column, "")
    value = parse_number(cell) if cell else math.nan
    if value is None or not (math.isnan(value) or 0 <= value <= _MOST):
        raise StudyError(
            f"{path}: {column} of {row['name']!r} is {cell!r}",
            remedy=f"use a number from 0 to {_MOST:.0e}, or leave the cell empty if it is unknown",
        )
    return value


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
    except RecursionError:
        raise StudyError(
            f"{path} is not readable JSON: it is nested too deeply", remedy='write {"targets": [...]}'
        ) from None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} is not readable JSON: {error}", remedy="correct the file") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path} holds no JSON object", remedy='write {"targets": [...]}')
    return content


def _unread(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys that nothing reads; one that resembles a known key is taken for a misspelling."""
    unread = tuple(key for key in content if key not in _KEYS)
    for key in unread:
        meant = get_close_matches(key.lower(), _KEYS, n=1)
        if meant:
            raise StudyError(
                f"{path} holds the unknown key {key!r}; did you mean {meant[0]!r}?",
                remedy=f"its keys are {', '.join(_KEYS)}",
            )
    return unread


def _names(path: Path, key: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise _malformed(path, key, value, "a list of task names")
    return tuple(value)


def _malformed(path: Path, key: str, value: object, expected: str) -> StudyError:
    return StudyError(
        f"{path}: {key!r} is {json.dumps(value, ensure_ascii=False)[:60]}", remedy=f"make it {expected}"
    )
