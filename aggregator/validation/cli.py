"""``fedprint validate``: how well distances agree with measured transfer."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

# Commands import what they need inside the function, so that others need not wait for it.


def validate(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds tasks.json, distances/ and outcomes/.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    recommender: Annotated[
        bool, typer.Option("--recommender", help="Judge the learned recommender as well.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page that opens offline.")] = None,
) -> None:
    """Judge distances by measured transfer: who ranks sources better than chance."""
    from aggregator.recommender import LearnedRecommender
    from aggregator.recommender.calibration import calibrate
    from aggregator.tables import wide_console
    from aggregator.validation.coverage import check_judgeable
    from aggregator.validation.directory import read_study
    from aggregator.validation.evaluate import evaluate
    from aggregator.validation.page import write_page
    from aggregator.validation.selectors import RECOMMENDER, Selector, selectors
    from aggregator.validation.tables import calibration_table, results_json, results_tables
    from federation.files import check_place

    if html is not None:
        check_place(html)
    study = read_study(directory)
    check_judgeable(study)
    for note in study.notes:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"note: {escape(note)}")
    chosen = selectors(study)
    learned = {setting: LearnedRecommender.fit(study, setting) for setting in study.outcomes if recommender}
    if recommender:
        chosen.append(Selector(RECOMMENDER, lambda _, setting: learned[setting].standings))
    results = evaluate(study, chosen)
    calibrations = {setting: calibrate(each) for setting, each in learned.items()}
    if html is not None:
        write_page(study, results, html, title=directory.resolve().name)
    if as_json:
        found = results_json(results, calibrations)
        typer.echo(json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False))
        return
    console = wide_console()
    console.print(results_tables(results))
    if calibrations:
        console.print(calibration_table(calibrations))
    if html is not None:
        console.print(f"page: {html}")
