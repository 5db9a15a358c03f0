"""Reading a backup into an empty place: the folder, and the rows into its SQLite file or onto a server."""

import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import tomlkit

from aggregator.backup.archive import Contents, extract, verify
from aggregator.backup.rows import load_rows
from aggregator.catalogue_place import SQLITE_FILE, CataloguePlace
from aggregator.database import Database
from aggregator.hub_folder import HubFolder
from aggregator.migration import upgrade
from federation.errors import StoreError
from federation.files import write_atomically


def restore(backup: Path, folder: Path, database: CataloguePlace | None = None) -> Contents:
    """Restore a backup; every hash in it is verified before anything is written.

    Args:
        backup: The file.
        folder: The hub's folder; it must be missing or empty.
        database: The server that gets the rows; by default they go into a SQLite file in the folder.

    Returns:
        What was restored.

    Raises:
        StoreError: If the place is not empty, the backup is damaged or of a newer version, or something
            cannot be written; the folder is then as it was.
    """
    _require_empty(folder)
    contents = verify(backup)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}."))
    try:
        extract(backup, staged)
        if database is None:
            _bring_up_to_date(staged / SQLITE_FILE)
        else:
            _onto_server(staged, database)
        staged.replace(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return contents


def _bring_up_to_date(file: Path) -> None:
    with closing(Database(CataloguePlace.of(file))) as database:
        upgrade(database)


def _onto_server(staged: Path, place: CataloguePlace) -> None:
    rows, hub_file = staged / SQLITE_FILE, HubFolder(staged).config
    load_rows(rows, place)
    rows.unlink()
    document = tomlkit.parse(hub_file.read_text("utf-8"))
    document["catalogue"] = place.whole_address
    write_atomically(hub_file, tomlkit.dumps(document).encode())


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(
            f"{folder} is not empty", remedy="restore into a new folder and compare; nothing was changed"
        )
