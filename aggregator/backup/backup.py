"""Making a backup of an aggregator, while it serves or not."""

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import tomlkit

import federation
from aggregator.backup.archive import ArchiveWriter, Contents, writing
from aggregator.backup.kept_files import is_private_key, kept_files
from aggregator.backup.rows import save_rows
from aggregator.catalogue_place import SQLITE_FILE
from aggregator.config import HubFiles
from aggregator.hub_folder import HubFolder
from aggregator.rounds.round_store import ROUNDS_FOLDER
from aggregator.transfer.models import MODELS_FOLDER
from federation.errors import StoreError
from federation.files import read_file

KEY_FILE, SPACE_FILE = "hub.key", "space.safetensors"

_TRIES = 20
_FILE_ENDS = ("", "-wal", "-shm")


def make_backup(folder: Path, target: Path, *, with_keys: bool = True) -> Contents:
    """Write one file that holds all that an aggregator remembers.

    Rounds are copied before the rows: a sum that is opened meanwhile is then brought into the catalogue once
    more, which changes nothing, instead of being asked for again. Models are copied after the rows that name
    them. Flower's own files are never in it, and no password of a database.

    Args:
        folder: The hub's folder.
        target: The file to write.
        with_keys: Whether private keys are in it.

    Returns:
        What is in it.

    Raises:
        ConfigError: If the hub file is missing or wrong.
        StoreError: If something cannot be read, or the file not be written.
    """
    hub_file = HubFolder(folder).config
    files = HubFiles.read(hub_file)
    if target.exists():
        raise StoreError(f"{target} exists already", remedy="give every backup a name of its own")
    with writing(target) as archive, tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as own:
        rounds, rows = Path(own) / ROUNDS_FOLDER, Path(own) / SQLITE_FILE
        copy_rounds(files.catalogue.folder / ROUNDS_FOLDER, rounds)
        n_rows = save_rows(files.catalogue, rows)
        archive.add_bytes(hub_file.name, _portable(hub_file, files))
        archive.add_file(SQLITE_FILE, rows)
        for name in kept_files(Path(own), ROUNDS_FOLDER):
            archive.add_file(name, Path(own) / name)
        _add_files(archive, folder.resolve(), files, with_keys)
        contents = Contents(federation.__version__, files.consortium, time.time(), with_keys, n_rows)
        archive.finish(contents)
    return contents


def copy_rounds(source: Path, target: Path) -> None:
    """Copy rounds, each as it was at one moment: one that changes meanwhile is copied again.

    Raises:
        StoreError: If one changes all the time.
        OSError: If they cannot be read or written.
    """
    for round_folder in sorted(source.glob("*/")):
        for _ in range(_TRIES):
            before = _state(round_folder)
            shutil.rmtree(target / round_folder.name, ignore_errors=True)
            with suppress(FileNotFoundError, shutil.Error):
                shutil.copytree(round_folder, target / round_folder.name)
                if _state(round_folder) == before:
                    break
        else:
            raise StoreError(f"{round_folder} changes all the time", remedy="make the backup again")


def _state(folder: Path) -> list[tuple[str, int, int]]:
    with suppress(FileNotFoundError):
        return sorted((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir())
    return []


def _add_files(archive: ArchiveWriter, folder: Path, files: HubFiles, with_keys: bool) -> None:
    """Add what is not in the archive yet; a file that was removed meanwhile, or never made, is not missed."""
    done = _done_already(folder, files)
    for path, name in sorted(_named(folder, files).items()):
        with suppress(FileNotFoundError):
            secret = path == files.key or is_private_key(path)
            if not any(path.is_relative_to(other) for other in done) and (with_keys or not secret):
                archive.add_file(name, path)


def _named(folder: Path, files: HubFiles) -> dict[Path, str]:
    """Return file → its name in the archive: what the hub file names elsewhere comes to lie beside it."""
    beside = files.catalogue.folder
    return {
        **{folder / name: name for name in kept_files(folder)},
        **{beside / name: name for name in kept_files(beside, MODELS_FOLDER)},
        files.space: _name_in(folder, files.space, SPACE_FILE),
        files.key: _name_in(folder, files.key, KEY_FILE),
    }


def _done_already(folder: Path, files: HubFiles) -> list[Path]:
    """Return files and folders that are in the archive in another form, or never."""
    place = files.catalogue
    rows = [] if place.is_on_server else [place.file.with_name(place.file.name + end) for end in _FILE_ENDS]
    password = place.url.query.get("passfile")
    secrets = [Path(str(password))] if password else []
    return [HubFolder(folder).config, place.folder / ROUNDS_FOLDER, *rows, *secrets]


def _name_in(folder: Path, path: Path, otherwise: str) -> str:
    """Name of a file within the folder; of one that lies elsewhere, the name it gets there."""
    whole = path.resolve()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else otherwise


def _portable(hub_file: Path, files: HubFiles) -> bytes:
    """Return the hub file as it is restored: everything it names lies beside it."""
    document, folder = tomlkit.parse(read_file(hub_file, "hub file").decode()), hub_file.resolve().parent
    document["catalogue"] = SQLITE_FILE
    document["space"] = _name_in(folder, files.space, SPACE_FILE)
    document["key"] = _name_in(folder, files.key, KEY_FILE)
    return tomlkit.dumps(document).encode()
