"""``fedprint validate``: how well distances agree with measured transfer."""

import json
from pathlib import Path
from typing import Annotated

import typer

from aggregator.tables import wide_console
from aggregator.validation.directory import read_study
from aggregator.validation.evaluate import evaluate
from aggregator.validation.page import write_page
from aggregator.validation.selectors import selectors
from aggregator.validation.tables import results_json, results_tables


def validate(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds tasks.json, distances/ and outcomes/.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page that opens offline.")] = None,
) -> None:
    """Judge distances by measured transfer: who ranks sources better than chance."""
    study = read_study(directory)
    results = evaluate(study, selectors(study))
    if html is not None:
        write_page(study, results, html, title=directory.resolve().name)
    if as_json:
        typer.echo(json.dumps(results_json(results), indent=1, allow_nan=False, ensure_ascii=False))
        return
    console = wide_console()
    console.print(results_tables(results))
    if html is not None:
        console.print(f"page: {html}")
