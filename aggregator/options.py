"""What the commands of ``fedprint hub`` share: options, the catalogue they mean, JSON on standard output."""

import json
from pathlib import Path
from typing import Annotated

import typer

from aggregator.store import Catalogue
from federation.errors import StoreError

CatalogueOption = Annotated[
    Path | None,
    typer.Option("--catalogue", "-c", help="The catalogue.sqlite of a run; by default the newest one here."),
]
DistanceOption = Annotated[
    str | None, typer.Option("--distance", "-d", help="By default the one the run was configured with.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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


def open_catalogue(path: Path | None) -> Catalogue:
    """Return the catalogue at a path, by default the newest one below the working directory."""
    return Catalogue(path or find_catalogue(Path.cwd()))


def default_distance(store: Catalogue) -> str:
    """Return the distance the latest run was configured with."""
    return str(store.run_summary()["distance"])


def print_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
