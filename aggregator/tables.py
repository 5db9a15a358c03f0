"""What the catalogue says, as tables for people and as JSON for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Column, Table

from aggregator.matrix import SimilarityMatrix, Values
from aggregator.store import Entry
from federation.ranking import Recommendation


def wide_console() -> Console:
    """A console that never cuts a table when the output goes into a pipe or file."""
    console = Console()
    return console if console.is_terminal else Console(width=250)


def tasks_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return one dict per current task."""
    return [
        {
            "key": e.fingerprint.key,
            "site": e.fingerprint.site,
            **e.fingerprint.card.to_json(),
            "trust_mode": e.fingerprint.privacy.mode.value,
            "mechanism": e.fingerprint.privacy.mechanism,
            "unreadable": e.fingerprint.provenance.n_unreadable,
            "arithmetic": e.fingerprint.provenance.arithmetic,
            "fingerprint_id": e.fingerprint_id,
            "received_at": e.received_at,
        }
        for e in entries
        if e.current
    ]


def tasks_table(entries: Sequence[Entry]) -> Table:
    """Return one row per current task."""
    table = Table(
        Column("task", no_wrap=True, overflow="fold"),
        "title",
        "modality",
        "images used",
        "classes, images of the whole dataset",
        "released as",
        box=box.SIMPLE_HEAD,
    )
    for task in tasks_json(entries):
        classes = ", ".join(f"{name} {count}" for name, count in list(task["classes"].items())[:6])
        more = len(task["classes"]) - 6
        table.add_row(
            escape(task["key"]),
            escape(task["title"]),
            escape(task["modality"]),
            str(task["n_images"]),
            escape(classes) + (f", … {more} more" if more > 0 else ""),
            f"{task['trust_mode']} ({'exact' if task['mechanism'] == 'none' else task['mechanism']})",
        )
    return table


def matrix_json(matrix: SimilarityMatrix) -> dict[str, Any]:
    """Return distance, task addresses and values; a value that is not finite becomes null."""
    values = [[v if np.isfinite(v) else None for v in row] for row in matrix.values.tolist()]
    return {
        "distance": matrix.distance,
        "rows": "source",
        "columns": "target",
        "tasks": list(matrix.keys),
        "values": values,
    }


def matrix_table(distance: str, keys: Sequence[str], values: Values, width: int) -> Group:
    """Return the matrix with the nearest source of every target marked.

    Where values would not fit, a cell shows the source's rank within its target's column instead.

    Args:
        distance: Name of the distance.
        keys: Addresses of the tasks.
        values: float64 [n_tasks, n_tasks], rows are sources and columns are targets.
        width: Columns of the terminal.
    """
    labels = [f"{i + 1} {key}" for i, key in enumerate(keys)]
    cells = [[f" {value:.3f}" for value in row] for row in values]
    if not labels:
        return Group("no task has released a fingerprint, so there is nothing to compare")
    what = "value"
    if _table_width(labels, cells) > width:
        cells = [[str(rank) for rank in row] for row in _ranks_within_target(values)]
        what = "rank among the target's sources"
    if _table_width(labels, cells) > width:
        tasks = f"{len(labels)} tasks do not fit into {width} columns"
        return Group(f"{tasks}: see the report, or `fedprint hub matrix --json`")
    table = Table(box=None, padding=0)
    table.add_column("source", no_wrap=True)
    for i in range(len(labels)):
        table.add_column(f" {i + 1}", justify="right", no_wrap=True)
    nearest = _nearest_sources(values)
    for i, label in enumerate(labels):
        row = [_cell(text, i == j, nearest[j] == i) for j, text in enumerate(cells[i])]
        table.add_row(escape(label), *row)
    heading = f"{distance}: rows are sources, columns are targets; {what}, ▸ nearest"
    return Group(heading, table)


def recommendations_json(ranking: Sequence[Recommendation]) -> list[dict[str, Any]]:
    """Return one dict per recommended source."""
    return [
        {
            "source": r.source,
            "rank": r.rank,
            "n_sources": r.n_sources,
            "distance": r.distance,
            "value": r.value if np.isfinite(r.value) else None,
            "reasons": list(r.reasons),
        }
        for r in ranking
    ]


def recommendations_text(rankings: Sequence[Sequence[Recommendation]]) -> Group:
    """Return the recommended sources of every target, one after the other, with their reasons."""
    return Group(*(part for ranking in rankings for part in _ranking_text(ranking)))


def _ranking_text(ranking: Sequence[Recommendation]) -> Iterator[RenderableType]:
    if ranking:
        yield f"\n[bold]{escape(ranking[0].target)}[/bold]"
    for choice in ranking:
        yield f"  {choice.rank}  {escape(choice.source)}  [dim]{choice.value:.4f}[/dim]"
        yield Padding(escape("; ".join(choice.reasons)), (0, 0, 0, 5), expand=False)


def _table_width(labels: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    column = 1 + max((len(text) for row in cells for text in row), default=0)
    return max(map(len, labels), default=0) + column * len(labels)


def _ranks_within_target(values: Values) -> list[list[int | str]]:
    """Rank 1 is the nearest other source; a task itself has no rank."""
    values = np.where(np.isfinite(values), values, np.inf)
    np.fill_diagonal(values, -np.inf)
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0)
    return [["·" if i == j else int(rank) for j, rank in enumerate(row)] for i, row in enumerate(ranks)]


def _nearest_sources(values: Values) -> list[int]:
    values = np.where(np.isfinite(values), values, np.inf)
    np.fill_diagonal(values, np.inf)
    return [int(i) for i in values.argmin(axis=0)]


def _cell(text: str, itself: bool, nearest: bool) -> str:
    if itself:
        return f" [dim]{text}[/dim]"
    return f"[bold green]▸{text}[/bold green]" if nearest else f" {text}"
