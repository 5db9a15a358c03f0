"""``fedprint hub backup``, ``restore`` and ``migrate``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aggregator.backup.archive import Contents
from aggregator.options import CatalogueOption, given_url, place_of

FolderOption = Annotated[Path, typer.Option("--folder", "-f", help="The hub's folder.")]


def backup(
    file: Annotated[Path, typer.Argument(help="New file to write, such as FILE.tar.")],
    folder: FolderOption = Path(),
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Leave private keys out; keep those elsewhere.")
    ] = False,
) -> None:
    """Write all that the hub remembers into one file, also while it serves; keep that file secret."""
    from aggregator.backup.backup import make_backup

    contents = make_backup(folder, file, with_keys=not without_keys)
    keys = "with its private keys: encrypt it" if contents.with_keys else "without private keys"
    _console().print(f"{file}: {_say(contents)}, {keys}")


def restore(
    file: Annotated[Path, typer.Argument(help="What `fedprint hub backup` wrote.")],
    folder: Annotated[Path, typer.Argument(help="New or empty folder for the hub.")],
    database: Annotated[
        str | None,
        typer.Option(help="URL of an empty database for the rows; by default a SQLite file in the folder."),
    ] = None,
) -> None:
    """Read a backup into an empty place, after every hash in it was verified."""
    from aggregator.backup.restore import restore as restore_backup

    contents = restore_backup(file, folder, given_url(database))
    console = _console()
    console.print(f"{folder}: {_say(contents)}")
    if not contents.with_keys:
        console.print("private keys are not in this backup: put them back before the hub serves")
    console.print(
        "[yellow]before you serve:[/yellow] stop the hub that this is a copy of. What was logged after the "
        "backup is gone, and every site that has seen it will report a log that shrank: tell the sites "
        "before, with the reason. Who was revoked after it is a member again: `fedprint hub revoke` them anew"
    )


def migrate(catalogue: CatalogueOption = None) -> None:
    """Bring the tables of a catalogue up to date, or make them in an empty database."""
    from aggregator.database import Database
    from aggregator.migration import upgrade

    place = place_of(catalogue)
    database = Database(place)
    changed = upgrade(database)
    database.close()
    _console().print(f"{place}: {'brought up to date' if changed else 'is up to date'}")


def _say(contents: Contents) -> str:
    made = datetime.fromtimestamp(contents.made_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"consortium {contents.consortium}, {contents.rows['fingerprint']} fingerprints, as of {made}"


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
