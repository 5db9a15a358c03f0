"""From findings and a catalogue to a folder with one page and its tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aggregator import matrix
from aggregator.recommender.consortium import consortium_study
from aggregator.store import Catalogue
from aggregator.study import Study, TaskFacts
from aggregator.transfer.experiment import Finding
from aggregator.transfer.report.contents import Consortium, contents
from aggregator.transfer.report.hypotheses import Rankings
from aggregator.transfer.report.load import executed
from aggregator.transfer.report.page import render
from aggregator.transfer.report.ran import StepSeconds
from aggregator.transfer.report.tables import tables, to_json
from federation.errors import EmptyCatalogueError, TransferError
from federation.files import write_atomically

PAGE, JSON, MARKDOWN = "report.html", "results.json", "report.md"
_NO_FINGERPRINTS = "No task was fingerprinted, so that no distance is judged."


def write_report(
    findings: Sequence[Finding],
    catalogue: Catalogue,
    folder: Path,
    *,
    plan: Mapping[str, Any] | None = None,
    rankings: Rankings | None = None,
    step_seconds: StepSeconds | None = None,
) -> list[Path]:
    """Write the page, one CSV file per table, and all tables as JSON and as Markdown.

    Equal findings give equal bytes. Files that are there are replaced.

    Args:
        findings: Every finding, failed ones too.
        catalogue: Where distances and cards come from.
        folder: Where the files go.
        plan: The plan as nested tables.
        rankings: Address → architecture → what it reached there on validation images, for H3.
        step_seconds: Step id → seconds it took; without, steps that experiments share count several times.

    Returns:
        Paths of the files, the page first.

    Raises:
        TransferError: If there is nothing to report.
        StoreError: If the folder cannot be written to, or the catalogue cannot be read.
    """
    known = _consortium(findings, catalogue, rankings or {})
    return write_tables(findings, replace(known, step_seconds=step_seconds or {}), folder, plan)


def report_plan(catalogue: Catalogue, folder: Path, name: str = "") -> list[Path]:
    """Write the report on the plan of a name that was begun last, by default of any.

    Raises:
        UnknownNameError: If there is none.
        TransferError: If nothing of it was begun.
        StoreError: If the folder cannot be written to, or the catalogue cannot be read.
    """
    found = executed(catalogue, name)
    plan = found.known.plan.model_dump(mode="json", exclude_defaults=True)
    return write_report(
        found.findings,
        catalogue,
        folder,
        plan=plan,
        rankings=found.rankings,
        step_seconds=found.step_seconds,
    )


def write_tables(
    findings: Sequence[Finding], consortium: Consortium, folder: Path, plan: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write the report about a consortium that was read already; otherwise as ``write_report``."""
    if not findings:
        raise TransferError("there is no experiment to report", remedy="run a plan first")
    found = contents(findings, consortium, plan)
    every = tables(found)
    names = [table.name for table in every]
    files = {
        PAGE: render(found, [*(f"{name}.csv" for name in names), JSON, MARKDOWN]),
        **{f"{table.name}.csv": table.to_csv() for table in every},
        JSON: json.dumps(to_json(found), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        MARKDOWN: "\n".join(table.to_markdown() for table in every if table.name != "pairs"),
    }
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in files]


def _consortium(findings: Sequence[Finding], catalogue: Catalogue, rankings: Rankings) -> Consortium:
    """Return what the catalogue knows; where nothing was fingerprinted, the names of the tasks alone."""
    try:
        return read_consortium(catalogue, rankings)
    except EmptyCatalogueError:
        asked = [finding.experiment for finding in findings]
        tasks = tuple(
            sorted({task for each in asked for task in (*each.source.split(" + "), each.target) if task})
        )
        facts = {task: TaskFacts() for task in tasks}
        return Consortium(Study(tasks, tasks, {}, {}, {}, facts, (_NO_FINGERPRINTS,)), rankings=rankings)


def read_consortium(catalogue: Catalogue, rankings: Rankings) -> Consortium:
    """Return distances, cards and groups of a catalogue's current tasks."""
    matrices = matrix.read_all(catalogue, catalogue.latest_space())
    study = consortium_study(matrices, [], catalogue.shared_images())
    cards = {each.key: each.card for each in next(iter(matrices.values())).fingerprints}
    return Consortium(study, cards, rankings)
