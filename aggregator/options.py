"""What the commands of ``fedprint hub`` share: options, the catalogue they mean, JSON on standard output."""

import json
from pathlib import Path
from typing import Annotated

import typer

from aggregator.catalogue_place import SQLITE_FILE, CataloguePlace
from aggregator.config import HubFiles
from aggregator.hub_folder import HubFolder
from aggregator.store import Catalogue
from federation.errors import ConfigError, StoreError

CatalogueOption = Annotated[
    str | None,
    typer.Option(
        "--catalogue",
        "-c",
        help="The catalogue.sqlite of a run, a hub.toml or a URL; by default that of the hub.toml here, else "
        "the newest catalogue.sqlite here.",
    ),
]
DistanceOption = Annotated[
    str | None, typer.Option("--distance", "-d", help="By default the one the run was configured with.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def find_catalogue(folder: Path) -> CataloguePlace:
    """Return what the hub file of a folder names, else the newest file in it, its sub-folders and ``runs/*``.

    Raises:
        ConfigError: If the hub file is wrong.
        StoreError: If there is none.
    """
    hub_file = HubFolder(folder).config
    if hub_file.is_file():
        return HubFiles.read(hub_file).catalogue
    found = [p for pattern in ("", "*/", "runs/*/") for p in folder.glob(f"{pattern}{SQLITE_FILE}")]
    if not found:
        raise StoreError(
            f"there is no catalogue in {folder}",
            remedy="run `fedprint demo` or `fedprint simulate` first, or name one with --catalogue",
        )
    return CataloguePlace.of(max(found, key=_changed_at))


def place_of(named: str | None) -> CataloguePlace:
    """Return the place that an option names, by default the one that is found here.

    Raises:
        ConfigError: If a hub file or URL is wrong.
        StoreError: If nothing is named and nothing is here.
    """
    if named is not None and Path(named).name == HubFolder(Path()).config.name:
        return HubFiles.read(Path(named)).catalogue
    return given_url(named) or find_catalogue(Path.cwd())


def given_url(text: str | None) -> CataloguePlace | None:
    """Return the place that an argument of a command names.

    Raises:
        ConfigError: If it is a URL with a password: others on the machine can read arguments.
    """
    if text is None:
        return None
    place = CataloguePlace.of(text)
    refuse_password(place)
    return place


def refuse_password(place: CataloguePlace) -> None:
    """Refuse a URL with a password on a command line.

    Raises:
        ConfigError: If it holds one.
    """
    if place.password:
        raise ConfigError(
            f"the URL of {place} holds a password, which everybody on this machine can read",
            remedy="put it into a file that only you can read and add ?passfile=FILE to the URL",
        )


def open_catalogue(named: str | None) -> Catalogue:
    """Return the catalogue that an option names, by default the one that is found here."""
    return Catalogue(place_of(named))


def default_distance(store: Catalogue) -> str:
    """Return the distance the latest run was configured with."""
    return str(store.run_summary()["distance"])


def print_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def _changed_at(file: Path) -> float:
    """Unix time of the last change, which may still be in SQLite's own file beside it."""
    waiting = file.with_name(f"{file.name}-wal")
    return max(path.stat().st_mtime for path in (file, waiting) if path.exists())
