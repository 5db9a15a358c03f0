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
from aggregator.report.words import say_cohorts, say_cost, say_noise, say_plural, say_sites, say_size
from aggregator.store import Entry
from federation.privacy.statement import PrivacyStatement
from federation.ranking import Recommendation, not_told_apart


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
            "privacy": _privacy_json(e.fingerprint.privacy),
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
        "size",
        "classes, images of the whole dataset",
        "released as",
        box=box.SIMPLE_HEAD,
    )
    for entry, task in zip([e for e in entries if e.current], tasks_json(entries), strict=True):
        privacy = entry.fingerprint.privacy
        classes = ", ".join(f"{name} {count}" for name, count in list(task["classes"].items())[:6])
        more = len(task["classes"]) - 6
        table.add_row(
            escape(task["key"]),
            escape(task["title"]),
            escape(task["modality"]),
            say_size(task["n_images"], privacy),
            escape(classes) + (f", … {more} more" if more > 0 else ""),
            f"{task['trust_mode']} ({_say_release(privacy)})",
        )
    return table


def _privacy_json(privacy: PrivacyStatement) -> dict[str, Any]:
    """Return the statement, and the standard deviations that its variances mean."""
    stated = privacy.to_json()
    return stated if privacy.is_exact else stated | {"sigma": {k: v**0.5 for k, v in privacy.noise.items()}}


def _say_release(privacy: PrivacyStatement) -> str:
    if privacy.is_exact:
        return "; ".join(part for part in (say_sites(privacy), "exact") if part)
    said = [
        say_sites(privacy),
        say_cost(privacy),
        f"noise {say_noise(privacy)}",
        f"at most {say_plural(privacy.images_per_patient, 'image')} of a patient",
        say_cohorts(privacy),
        "" if privacy.ledger_seq is None else f"ledger entry {privacy.ledger_seq}",
    ]
    return "; ".join(part for part in said if part)


def matrix_json(matrix: SimilarityMatrix) -> dict[str, Any]:
    """Return distance, task addresses, values and their standard errors; what is not finite becomes null."""
    return {
        "distance": matrix.distance,
        "rows": "source",
        "columns": "target",
        "tasks": list(matrix.keys),
        "values": _finite(matrix.values),
        "standard_errors": _finite(matrix.standard_errors),
    }


def _finite(values: Values) -> list[list[float | None]]:
    return [[v if np.isfinite(v) else None for v in row] for row in values.tolist()]


def matrix_table(
    distance: str, keys: Sequence[str], values: Values, width: int, standard_errors: Values | None = None
) -> Group:
    """Return the matrix with the nearest source of every target marked, and those like it but for noise.

    Where values would not fit, a cell shows the source's rank within its target's column instead.

    Args:
        distance: Name of the distance.
        keys: Addresses of the tasks.
        values: float64 [n_tasks, n_tasks], rows are sources and columns are targets.
        width: Columns of the terminal.
        standard_errors: float64 [n_tasks, n_tasks], what noise makes of the values; NaN where unknown.
    """
    errors = np.zeros(values.shape) if standard_errors is None else standard_errors
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
    marks = _marks(values, errors)
    for i, label in enumerate(labels):
        table.add_row(escape(label), *(_cell(text, marks[i][j]) for j, text in enumerate(cells[i])))
    heading = f"{distance}: rows are sources, columns are targets; {what}, ▸ nearest"
    return Group(heading, table, *_say_noise(distance, errors))


def _say_noise(distance: str, errors: Values) -> list[str]:
    known = errors[np.isfinite(errors) & (errors > 0)]
    said = []
    if known.size:
        said.append(
            f"≈ noise cannot tell it from the nearest; standard errors {known.min():.2g} to {known.max():.2g}"
        )
    if np.isnan(errors).any():
        said.append(f"some tasks carry noise, and how far it moves {distance} is not known")
    return said


def recommendations_json(ranking: Sequence[Recommendation]) -> list[dict[str, Any]]:
    """Return one dict per recommended source."""
    return [
        {
            "source": r.source,
            "rank": r.rank,
            "n_sources": r.n_sources,
            "distance": r.distance,
            "value": r.value if np.isfinite(r.value) else None,
            "standard_error": r.standard_error,
            "ties": [list(span) for span in r.ties],
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
        error = f" ± {choice.standard_error:.1g}" if choice.standard_error else ""
        mark = "≈" if choice.ties else " "
        yield f" {mark}{choice.rank}  {escape(choice.source)}  [dim]{choice.value:.4f}{error}[/dim]"
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


def _marks(values: Values, errors: Values) -> list[list[str]]:
    """``▸`` for each target's nearest source, ``≈`` for those noise cannot tell from it, ``·`` for itself."""
    values = np.where(np.isfinite(values), values, np.inf)
    np.fill_diagonal(values, np.inf)
    marks = np.full(values.shape, " ")
    for j, i in enumerate(values.argmin(axis=0)):
        marks[:, j][not_told_apart(values[:, j], errors[:, j], int(i))] = "≈"
        marks[i, j], marks[j, j] = "▸", "·"
    return [[str(mark) for mark in row] for row in marks]


def _cell(text: str, mark: str) -> str:
    if mark == "·":
        return f" [dim]{text}[/dim]"
    return f"[bold green]▸{text}[/bold green]" if mark == "▸" else f"{mark}{text}"
