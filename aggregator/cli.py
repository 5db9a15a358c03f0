"""``fedprint hub``: who belongs to the consortium, and reading the catalogue."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from aggregator import matrix, members_cli
from aggregator.backup.cli import backup, migrate, restore
from aggregator.export import export_catalogue
from aggregator.forecast_text import forecasts_json, forecasts_text
from aggregator.jobs.cli import jobs, run, serve
from aggregator.log.cli import verify
from aggregator.operations.status_cli import status
from aggregator.options import (
    CatalogueOption,
    DistanceOption,
    JsonOption,
    default_distance,
    open_catalogue,
    print_json,
)
from aggregator.outcomes_cli import app as outcomes_app
from aggregator.recommend import (
    SettingForecast,
    candidates,
    choose_settings,
    forecast,
    involved,
    learn,
    require_released,
)
from aggregator.recommender.consortium import consortium_study
from aggregator.rounds_cli import rounds
from aggregator.store import Catalogue
from aggregator.study import Scenario
from aggregator.tables import (
    matrix_json,
    matrix_table,
    recommendations_json,
    recommendations_text,
    tasks_json,
    tasks_table,
    wide_console,
)
from federation import distances
from federation.errors import StoreError
from federation.log.kinds import RECOMMENDED
from federation.ranking import Recommendation, rank_sources
from federation.space import Space

log = logging.getLogger("fedprint.hub")

app = typer.Typer(no_args_is_help=True, help="The aggregator: tasks, similarity matrix, recommendations.")

app.add_typer(outcomes_app, name="outcomes")
app.command()(rounds)
app.command()(status)
members_cli.add_to(app)
app.command()(serve)
app.command()(run)
app.command()(jobs)
app.command()(verify)
app.command()(backup)
app.command()(restore)
app.command()(migrate)


@app.command()
def tasks(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """List the tasks whose fingerprints the catalogue holds."""
    store = open_catalogue(catalogue)
    space = store.latest_space()
    entries = store.tasks(store.listings(space))
    if as_json:
        print_json({"space_id": space.space_id, "tasks": tasks_json(entries)})
    else:
        wide_console().print(tasks_table(entries))


@app.command("matrix")
def show_matrix(
    catalogue: CatalogueOption = None, distance: DistanceOption = None, as_json: JsonOption = False
) -> None:
    """Show the similarity matrix: rows are sources, columns are targets."""
    store = open_catalogue(catalogue)
    found = matrix.read(store, store.latest_space(), distance or default_distance(store))
    if as_json:
        print_json(matrix_json(found))
    else:
        console = wide_console()
        errors = found.standard_errors
        console.print(matrix_table(found.distance, found.keys, found.values, console.width, errors))


@app.command()
def recommend(
    task: Annotated[str, typer.Argument(help="Target: site/task, or just the task if one site has it.")],
    top: Annotated[int, typer.Option(min=1, help="How many sources.")] = 3,
    scenario: Annotated[
        Scenario | None, typer.Option(help="By default every one with imported outcomes.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="By default every one with imported outcomes.")] = None,
    catalogue: CatalogueOption = None,
    distance: DistanceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend the sources to try first for a target: expected gain, chance of harm, reasons."""
    store = open_catalogue(catalogue)
    space = store.latest_space()
    name = distances.chosen(space, distance or default_distance(store))
    released = [listing.key for listing in store.listings(space) if listing.current]
    require_released(released, store.listening(), task)
    column = matrix.read_column(store, space, task, name)
    possible = candidates(column)
    ranking = rank_sources(possible, name)
    expected = _expected(store, space, ranking, name, scenario, metric)
    _tell(store, possible.target, name, ranking[:top])
    if as_json:
        choices = recommendations_json(ranking[:top])
        found = {"target": possible.target, "distance": name, "recommendations": choices}
        print_json({**found, "forecasts": forecasts_json(expected, top)})
        return
    console = wide_console()
    if expected:
        console.print(f"\n[bold]{escape(possible.target)}[/bold]", forecasts_text(expected, top))
    else:
        console.print(recommendations_text([ranking[:top]]))
        console.print(
            "\nby distance alone: nothing was measured yet; `fedprint hub outcomes template` begins that"
        )


def _tell(store: Catalogue, target: str, distance: str, given: Sequence[Recommendation]) -> None:
    """Tell the log what was recommended; where it cannot be written, that is a warning and no more."""
    told = {"target": target, "distance": distance, "sources": [choice.source for choice in given]}
    try:
        with store.writing() as writer:
            writer.add_event(RECOMMENDED, "", **told)
    except StoreError as error:
        log.warning("the log does not tell of this recommendation: %s", error.problem)


def _expected(
    store: Catalogue,
    space: Space,
    ranking: Sequence[Recommendation],
    distance: str,
    scenario: str | None,
    metric: str | None,
) -> list[SettingForecast]:
    """Forecasts for a target; matrices are read only if something was measured or a scenario is named."""
    outcomes = store.outcomes()
    if not ranking or (not outcomes and scenario is None):
        return []
    among = involved(ranking, outcomes)
    matrices = matrix.read_all(store, space, distance, among)
    study = consortium_study(matrices, outcomes, store.shared_images())
    settings = choose_settings(study, scenario, metric)
    return [forecast(each, ranking[0].target) for each in learn(study, settings, distance)]


@app.command()
def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    catalogue: CatalogueOption = None,
    distance: DistanceOption = None,
) -> None:
    """Write the catalogue as one HTML page that opens offline."""
    from aggregator.report.catalogue import write_catalogue_report  # slow to import

    store = open_catalogue(catalogue)
    write_catalogue_report(store, output, distance or default_distance(store))
    Console().print(f"report: {output}")


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="New or empty folder to write into.")],
    catalogue: CatalogueOption = None,
    distance: Annotated[
        list[str] | None,
        typer.Option("--distance", "-d", help="Also this one, computed on demand; may be given again."),
    ] = None,
) -> None:
    """Write distances, outcomes and tasks as files that `fedprint validate` reads."""
    store = open_catalogue(catalogue)
    done = export_catalogue(store, directory, distance or ())
    console = Console(highlight=False)
    console.print(
        f"{directory}: {done.n_tasks} tasks, {done.n_distances} distances, {done.n_outcomes} outcomes"
    )
    if done.not_computed:
        console.print(f"computed on demand only, add with --distance: {', '.join(done.not_computed)}")
    if done.left_out:
        console.print(f"left out {done.left_out} outcomes of tasks that are not in the matrices")
    if not done.n_outcomes:
        console.print("there is nothing to validate before `fedprint hub outcomes import`")
