"""Colour and symbol of a task: its modality, or its site where every task has the same modality."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.report.data import TaskEntry
from aggregator.report.words import shorten

N_SYMBOLS = 8
_NAME_LIMIT = 40


@dataclass(frozen=True)
class Group:
    """Tasks that share a colour and a symbol.

    Args:
        name: What they have in common, in words.
        symbol: 0 to 7 for the largest groups, 8 for everything else.
    """

    name: str
    symbol: int


def group_tasks(tasks: Sequence[TaskEntry]) -> tuple[str, list[Group]]:
    """Return what tasks are grouped by and the group of each task.

    Args:
        tasks: The tasks of the report.

    Returns:
        ``"modality"`` or ``"site"``, and one group per task.
    """
    names = [shorten(task.card.modality, _NAME_LIMIT) for task in tasks]
    by = "modality"
    if len(set(map(str.casefold, names))) < 2:
        by, names = "site", [shorten(task.site, _NAME_LIMIT) for task in tasks]
    sizes = Counter(name.casefold() for name in names if name)
    by_size = sorted(sizes, key=lambda name: (-sizes[name], name))
    # The last symbol stands for a ninth group alone, or for everything beyond the eighth.
    named = by_size[: N_SYMBOLS + (len(by_size) == N_SYMBOLS + 1 and "" not in names)]
    return by, [_group(name, named) for name in names]


def legend(groups: Sequence[Group]) -> list[Group]:
    """Return every group once, in the order of symbols."""
    first = {group.symbol: group for group in reversed(groups)}
    return [first[symbol] for symbol in sorted(first)]


def _group(name: str, named: list[str]) -> Group:
    folded = name.casefold()
    if folded in named:
        return Group(name, named.index(folded))
    return Group("other or not stated", N_SYMBOLS)
