"""``fedprint hub``: reading the catalogue."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aggregator import matrix
from aggregator.recommend import NearestFirst, candidates
from aggregator.report.catalogue import write_catalogue_report
from aggregator.store import Catalogue
from aggregator.tables import (
    matrix_json,
    matrix_table,
    recommendations_json,
    recommendations_text,
    tasks_json,
    tasks_table,
    wide_console,
)
from federation.errors import StoreError, UnknownNameError

app = typer.Typer(no_args_is_help=True, help="The aggregator: tasks, similarity matrix, recommendations.")

CatalogueOption = Annotated[
    Path | None,
    typer.Option("--catalogue", "-c", help="The catalogue.sqlite of a run; by default the newest one here."),
]
DistanceOption = Annotated[
    str | None, typer.Option("--distance", "-d", help="By default the one the run was configured with.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def tasks(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """List the tasks whose fingerprints the catalogue holds."""
    store = _open(catalogue)
    space = store.latest_space()
    entries = store.entries(space)
    if as_json:
        _print_json({"space_id": space.space_id, "tasks": tasks_json(entries)})
    else:
        wide_console().print(tasks_table(entries))


@app.command("matrix")
def show_matrix(
    catalogue: CatalogueOption = None, distance: DistanceOption = None, as_json: JsonOption = False
) -> None:
    """Show the similarity matrix: rows are sources, columns are targets."""
    store = _open(catalogue)
    found = matrix.read(store, store.latest_space(), distance or _default_distance(store))
    if as_json:
        _print_json(matrix_json(found))
    else:
        console = wide_console()
        console.print(matrix_table(found.distance, found.keys, found.values, console.width))


@app.command()
def recommend(
    task: Annotated[str, typer.Argument(help="Target: site/task, or just the task if one site has it.")],
    top: Annotated[int, typer.Option(min=1, help="How many sources.")] = 3,
    catalogue: CatalogueOption = None,
    distance: DistanceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend the sources to try first for a target."""
    store = _open(catalogue)
    name = distance or _default_distance(store)
    matrices = matrix.read_all(store, store.latest_space(), name)
    if name not in matrices:
        raise UnknownNameError(
            f"there is no distance {name!r}", remedy="choose one of: " + ", ".join(matrices)
        )
    possible = candidates(matrices, task)
    ranking = NearestFirst(name).recommend(possible)[:top]
    if as_json:
        choices = recommendations_json(ranking)
        _print_json({"target": possible.target, "distance": name, "recommendations": choices})
    else:
        wide_console().print(recommendations_text([ranking]))


@app.command()
def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    catalogue: CatalogueOption = None,
    distance: DistanceOption = None,
) -> None:
    """Write the catalogue as one HTML page that opens offline."""
    store = _open(catalogue)
    write_catalogue_report(store, output, distance or _default_distance(store))
    Console().print(f"report: {output}")


def find_catalogue(folder: Path) -> Path:
    """Return the newest catalogue in a folder, its sub-folders and ``runs/*``.

    Raises:
        StoreError: If there is none.
    """
    found = [p for pattern in ("", "*/", "runs/*/") for p in folder.glob(f"{pattern}catalogue.sqlite")]
    if not found:
        raise StoreError(
            f"there is no catalogue in {folder}",
            remedy="run `fedprint demo` or `fedprint simulate` first, or name one with --catalogue",
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def _open(path: Path | None) -> Catalogue:
    return Catalogue(path or find_catalogue(Path.cwd()))


def _default_distance(store: Catalogue) -> str:
    return str(store.run_summary()["distance"])


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
