"""The file of a backup: an uncompressed tar whose last member lists the SHA-256 of every other.

It holds plain files under relative names and nothing else, so that ``tar`` and ``sha256sum`` can read it too.
"""

import hashlib
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from federation.canonical import canonical_json
from federation.errors import StoreError

MANIFEST = "manifest.json"
FORMAT = 1

_CHUNK = 2**20


@dataclass(frozen=True)
class Contents:
    """What a backup is of.

    Args:
        fedprint: Version that made it.
        consortium: Name of the consortium.
        made_at: Unix time in seconds.
        with_keys: Whether private keys are in it.
        rows: Table → number of its rows.
    """

    fedprint: str
    consortium: str
    made_at: float
    with_keys: bool
    rows: Mapping[str, int]


class ArchiveWriter:
    """An archive that is being written.

    Args:
        file: Where it goes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._hashes: dict[str, str] = {}

    def add_bytes(self, name: str, content: bytes) -> None:
        """Add a file with this content."""
        self._add(name, BytesIO(content), len(content))

    def add_file(self, name: str, path: Path) -> None:
        """Add a copy of a file; one that is replaced meanwhile is copied as it was."""
        with path.open("rb") as file:
            self._add(name, file, os.fstat(file.fileno()).st_size)

    def finish(self, contents: Contents) -> None:
        """Add the list of all files, which makes it a backup."""
        listed = {"format": FORMAT, "files": self._hashes, **asdict(contents)}
        self.add_bytes(MANIFEST, canonical_json(listed))
        self._tar.close()

    def _add(self, name: str, file: IO[bytes], size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        reader = _Hashing(file)
        self._tar.addfile(member, reader)
        self._hashes[name] = reader.sha256.hexdigest()


class _Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """Put an archive in place as a whole or not at all; only its owner can read it.

    Raises:
        StoreError: If it cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield ArchiveWriter(file)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"the backup {path} cannot be written: {error.strerror or error}",
            remedy="choose a place with enough space that you may write to; no backup was made",
        ) from error


def verify(path: Path) -> Contents:
    """Read a whole archive and compare every file with the list.

    Raises:
        StoreError: If it is no backup, incomplete, altered, or of a newer format.
    """
    found: dict[str, str] = {}
    last = ""

    def look(name: str, file: IO[bytes]) -> None:
        nonlocal last
        last = name
        found[name] = _copy(file, None)

    _each(path, look)
    listed = _manifest(path) if last == MANIFEST else None
    if listed is None:
        raise StoreError(f"{path} is no whole backup: its list of files is missing", remedy="use another one")
    if {**listed["files"], MANIFEST: found[MANIFEST]} != found:
        different = sorted(
            set(listed["files"].items()) ^ (set(found.items()) - {(MANIFEST, found[MANIFEST])})
        )
        raise StoreError(
            f"{path} is damaged or was altered: {different[0][0]} is not what its list says",
            remedy="use another backup; nothing was restored",
        )
    return Contents(**{key: value for key, value in listed.items() if key not in ("format", "files")})


def extract(path: Path, folder: Path) -> None:
    """Write the files of an archive that was verified into a folder, readable by their owner alone.

    Raises:
        StoreError: If they cannot be written.
    """

    def put(name: str, file: IO[bytes]) -> None:
        if name != MANIFEST:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                _copy(file, out)
                out.flush()
                os.fsync(out.fileno())

    _each(path, put)


def _manifest(path: Path) -> dict[str, Any]:
    found: list[bytes] = []
    _each(path, lambda name, file: found.append(file.read()) if name == MANIFEST else None)
    try:
        listed: dict[str, Any] = json.loads(found[-1])
        known = listed["format"] == FORMAT
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(f"{path} is no backup: its list of files is damaged") from error
    if not known:
        raise StoreError(
            f"the backup {path} has format {listed['format']}, this fedprint reads {FORMAT}",
            remedy="restore it with the version that made it",
        )
    return listed


def _each(path: Path, work: Callable[[str, IO[bytes]], object]) -> None:
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                _require_plain(path, member)
                file = tar.extractfile(member)
                if file is not None:
                    work(member.name, file)
    except (tarfile.TarError, EOFError) as error:
        raise StoreError(f"{path} is no whole backup: {error}", remedy="use another one") from error
    except OSError as error:
        raise StoreError(
            f"the backup {path} cannot be read or written out: {error.strerror or error}",
            remedy="check its path, permissions and free disk space",
        ) from error


def _require_plain(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if not member.isreg() or name.is_absolute() or ".." in name.parts or name.as_posix() != member.name:
        raise StoreError(
            f"{path} holds {member.name!r}, which no backup does",
            remedy="do not use it; nothing was restored",
        )


def _copy(file: IO[bytes], out: IO[bytes] | None) -> str:
    """Copy a file, or only read it, and return its SHA-256."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        if out is not None:
            out.write(chunk)
    return digest.hexdigest()
