"""Files below a root, which is a directory or a zip archive; both are read the same way."""

import io
import logging
import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from federation.errors import DataError
from site_agent.data.source import printable

MAX_MEMBER_BYTES = 2**30
_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_LOCAL_HEADER = struct.Struct("<4s22xHH")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileEntry:
    """One file of a tree.

    Args:
        path: POSIX path relative to the root.
        stamp: Changes when the file changes.
    """

    path: str
    stamp: str

    @property
    def suffix(self) -> str:
        """The lower-case suffix with its dot."""
        return PurePosixPath(self.path).suffix.lower()


class FileTree(ABC):
    """Files below a root; reading is safe from several threads and across a fork."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def files(self) -> list[FileEntry]:
        """Return all files except hidden ones and system litter, sorted by path."""

    @abstractmethod
    def find(self, path: str) -> FileEntry | None:
        """Return the entry at ``path``, or None when there is none."""

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Open one file for reading.

        Raises:
            DataError: If it is missing, unreadable or damaged, or larger than 1 GiB inside an archive.
        """


class DirectoryTree(FileTree):
    """Files of a directory; symbolic links are followed, loops of them are not."""

    def files(self) -> list[FileEntry]:
        """Return all files except hidden ones and system litter, sorted by path."""
        return sorted(self._walk(self.root, "", ()), key=lambda entry: entry.path)

    def find(self, path: str) -> FileEntry | None:
        """Return the entry at ``path``, or None when there is none."""
        full = self.root / path
        return FileEntry(path, _stamp(full)) if full.is_file() or full.is_symlink() else None

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading."""
        full = self.root / path
        try:
            return full.open("rb")
        except OSError as error:
            raise DataError(f"{printable(path)}: {_why_unreadable(full, error)}") from error

    def _walk(self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[FileEntry]:
        try:
            identity = (folder.stat().st_dev, folder.stat().st_ino)
            children = list(os.scandir(folder))
        except OSError as error:
            raise DataError(
                f"folder {printable(str(folder))}: {_why_unreadable(folder, error)}",
                remedy="grant this user read access to it",
            ) from error
        if identity in above:
            return
        for child in children:
            path = prefix + child.name
            if _is_litter(child.name):
                continue
            if child.is_dir():
                yield from self._walk(folder / child.name, path + "/", (*above, identity))
            elif child.is_file() or child.is_symlink():
                yield FileEntry(path, _stamp(folder / child.name))


class ZipTree(FileTree):
    """Files of a zip archive, or of one folder in it, read in place.

    Members are read from the archive file directly, without shared state, so threads never wait for each
    other; stored and deflated members are supported, which is what zip programs write.
    """

    def __init__(self, archive: Path, folder: str = "") -> None:
        super().__init__(archive / folder)
        self._archive = archive
        prefix = f"{folder}/" if folder else ""
        self._members = {
            path.removeprefix(prefix): member
            for member in _members(archive)
            if (path := member.filename.replace("\\", "/")).startswith(prefix) and not member.is_dir()
        }

    def files(self) -> list[FileEntry]:
        """Return all files except hidden ones and system litter, sorted by path."""
        return [
            FileEntry(path, _member_stamp(self._members[path]))
            for path in sorted(self._members)
            if not any(map(_is_litter, path.split("/")))
        ]

    def find(self, path: str) -> FileEntry | None:
        """Return the entry at ``path``, or None when there is none."""
        member = self._members.get(path)
        return None if member is None else FileEntry(path, _member_stamp(member))

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading."""
        member = self._members.get(path)
        if member is None:
            raise DataError(f"{printable(path)}: no such file in {self._archive.name}")
        if member.file_size > MAX_MEMBER_BYTES:
            raise DataError(f"{printable(path)}: larger than {MAX_MEMBER_BYTES >> 30} GiB inside the archive")
        try:
            data = _inflate(member, _read_member(self._archive, member))
        except (OSError, struct.error, zlib.error, ValueError) as error:
            raise DataError(f"{printable(path)}: damaged in {self._archive.name} ({error})") from error
        return io.BytesIO(data)


def open_tree(root: Path) -> FileTree:
    """Return the files below a directory, a ``.zip`` file, or a folder in one (``data.zip/pictures``).

    Raises:
        DataError: If the root does not exist or the archive cannot be read.
    """
    if root.is_dir():
        return DirectoryTree(root)
    for archive in (root, *root.parents):
        if archive.suffix.lower() == ".zip" and archive.is_file():
            folder = root.relative_to(archive).as_posix()
            return ZipTree(archive, "" if folder == "." else folder)
    kind = "is neither a folder nor a .zip file" if root.exists() else "does not exist"
    raise DataError(f"{root} {kind}", remedy="correct the path of this dataset in the configuration")


def log_ignored(root: Path, ignored: Sequence[FileEntry]) -> None:
    """Note in the log which files of a tree are not images of the dataset."""
    if ignored:
        logger.info("%s: ignored %d files that are no images (%s)", root, len(ignored), suffixes(ignored))


def suffixes(files: Sequence[FileEntry]) -> str:
    """Return the suffixes of some files with their counts, most frequent first."""
    counts = Counter(file.suffix or "no suffix" for file in files)
    return ", ".join(f"{suffix}: {count}" for suffix, count in counts.most_common(5))


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in _LITTER


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "unreadable"
    return f"{status.st_size}:{status.st_mtime_ns}"


def _member_stamp(member: zipfile.ZipInfo) -> str:
    return f"{member.file_size}:{member.CRC:08x}"


def _why_unreadable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "link to a file that does not exist" if path.is_symlink() else "no such file"
    if isinstance(error, PermissionError):
        return "this user may not read it"
    return error.strerror or str(error)


def _members(archive: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(archive) as file:
            return file.infolist()
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{archive} cannot be read as a zip archive ({error})",
            remedy="copy or create the archive again",
        ) from error


def _read_member(archive: Path, member: zipfile.ZipInfo) -> bytes:
    with archive.open("rb") as file:
        file.seek(member_offset(file, member))
        return file.read(member.compress_size)


def member_offset(archive: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Return where in the archive file the bytes of a member begin.

    Raises:
        ValueError: If no member starts where the archive's directory says.
    """
    archive.seek(member.header_offset)
    magic, name_length, extra_length = _LOCAL_HEADER.unpack(archive.read(_LOCAL_HEADER.size))
    if magic != b"PK\x03\x04":
        raise ValueError("the archive's directory points to the wrong place")
    return member.header_offset + _LOCAL_HEADER.size + int(name_length) + int(extra_length)


def _inflate(member: zipfile.ZipInfo, stored: bytes) -> bytes:
    if member.flag_bits & 1:
        raise ValueError("encrypted")
    if member.compress_type == zipfile.ZIP_STORED:
        data = stored
    elif member.compress_type == zipfile.ZIP_DEFLATED:
        # One byte more than announced: a member that holds more fails the checksum instead of filling memory.
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, member.file_size + 1)
    else:
        raise ValueError(f"compression method {member.compress_type}; zip it again with deflate")
    if zlib.crc32(data) != member.CRC:
        raise ValueError("wrong checksum")
    return data
