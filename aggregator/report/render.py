"""From report data to the bytes of one self-contained page."""

from pathlib import Path
from typing import Any

from aggregator.report import words
from aggregator.report.cards import make_cards
from aggregator.report.data import ReportData, TaskEntry
from aggregator.report.graph import neighbour_graph
from aggregator.report.groups import group_tasks, legend
from aggregator.report.heatmap import Heatmap, csv_address, heatmaps
from aggregator.report.page import asset, content_security_policy, environment
from aggregator.report.palette import N_LEVELS, ramp_css
from aggregator.report.space import say_sketches, say_space
from aggregator.report.uncertainty import say_uncertainty
from federation.files import write_atomically

# A million table cells help no one: larger catalogues get the cards and the CSV files only.
_DRAWING_LIMIT = 150
_WIDEST_CELL, _NARROWEST_CELL, _MATRIX_WIDTH = 48, 8, 980


def render_report(report: ReportData) -> str:
    """Return the report as one HTML page that needs nothing else.

    Every text is escaped; the page allows exactly its own style and script by hash and fetches nothing.

    Args:
        report: What to show.
    """
    style, script = _style(len(report.tasks)), asset("report.js")
    policy = content_security_policy(style, script)
    page = environment().get_template("report.html.j2")
    return page.render(policy=policy, style=style, script=script, **_contents(report))


def write_report(report: ReportData, path: Path) -> None:
    """Write the report as one HTML file; an existing file is replaced only by a complete one.

    Raises:
        StoreError: If the disk is full or the place cannot be written to.
    """
    write_atomically(path, render_report(report).encode())


def _style(n_tasks: int) -> str:
    cell = min(max(_MATRIX_WIDTH // max(n_tasks, 1), _NARROWEST_CELL), _WIDEST_CELL)
    return f"{asset('style.css')}\n:root{{--n:{n_tasks};--cell-screen:{cell}px}}{ramp_css()}"


def _contents(report: ReportData) -> dict[str, Any]:
    maps = heatmaps(report)
    keys = [task.key for task in report.tasks]
    by, groups = group_tasks(report.tasks)
    drawn = 2 <= len(keys) <= _DRAWING_LIMIT
    return {
        "report": report,
        "totals": _totals(report),
        "heat": maps[0],
        "uncertainty": say_uncertainty(report),
        "ties": any(heat.tied.any() for heat in maps) if drawn else False,
        "rows": maps[0].rows() if drawn else [],
        "graph": neighbour_graph(maps[0], keys, groups) if drawn else None,
        "distances": [heat.name for heat in maps],
        "downloads": [(heat.name, csv_address(heat.matrix, keys)) for heat in maps],
        "payload": _payload(report, maps if drawn else []),
        "cards": sorted(make_cards(report, groups), key=lambda card: card.entry.key),
        "space": say_space(report.space),
        "sketches": say_sketches(report.space),
        "grouped_by": by,
        "groups": groups,
        "legend": legend(groups),
        "levels": range(N_LEVELS),
        "drawing_limit": _DRAWING_LIMIT,
    }


def _sizes(tasks: tuple[TaskEntry, ...]) -> list[tuple[str, str]]:
    """Number and noun of what all tasks hold together: images and patients are never added up."""
    sizes = []
    for noun in sorted({words.counted(task.privacy) for task in tasks} or {"image"}):
        counted = [task for task in tasks if words.counted(task.privacy) == noun]
        n = sum(task.n for task in counted)
        exact = all(task.privacy.is_exact for task in counted)
        sizes.append((f"{'' if exact else '≈ '}{words.say_count(n)}", noun if n == 1 else f"{noun}s"))
    return sizes


def _payload(report: ReportData, maps: list[Heatmap]) -> dict[str, Any]:
    return {
        "tasks": [
            {"key": task.key, "title": task.card.title, "n": task.n, "words": _findable(task)}
            for task in report.tasks
        ],
        "distances": {heat.name: heat.payload() for heat in maps},
    }


def _findable(task: TaskEntry) -> str:
    card = task.card
    text = (task.key, card.title, card.modality, card.body_part, *card.keywords)
    return " ".join(text).casefold()


def _totals(report: ReportData) -> dict[str, Any]:
    return {
        "sites": len({task.site for task in report.tasks} | set(report.listening)),
        "tasks": len(report.tasks),
        "sizes": _sizes(report.tasks),
        "noisy": sum(not task.privacy.is_exact for task in report.tasks),
        "exact": sum(words.is_exact(task.privacy) for task in report.tasks),
    }
