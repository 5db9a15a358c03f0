"""Rows of one size in an append-only file that is mapped into memory: a copy that can always be made again.

Every row carries the id of the fingerprint it belongs to and a checksum. The catalogue is the truth: rows of
other fingerprints, damaged rows and an incomplete last row are noticed and made again. A file never shrinks
and is replaced as a whole rather than emptied: what one process has mapped stays valid while another appends.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json

Rows: TypeAlias = npt.NDArray[Any]
Maker: TypeAlias = Callable[[slice], Rows]
"""Tasks by position → their rows."""

_HEADER = 4096
_ID = 32
_GUARD = _ID + 8  # id and checksum before every row
_BATCH = 2**25  # bytes made and written at a time


class RowFile:
    """One row per fingerprint, in the order of the catalogue.

    Args:
        path: The file; its folder exists.
        row: Type of a row; its sub-arrays give the shapes.
        ids: SHA-256 of every fingerprint of the catalogue, in hexadecimal.
        make: Makes the rows of some of them.

    Raises:
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path, row: "np.dtype[Any]", ids: Sequence[str], make: Maker) -> None:
        self.path = path
        self._make = make
        self._ids = np.frombuffer(bytes.fromhex("".join(ids)), np.uint8).reshape(-1, _ID)
        self._row = row
        self._record = _record(row)
        self._records = self._map()
        if self._sound() < len(self._ids):
            self.update()

    def update(self, *, anew: bool = False) -> None:
        """Append what is missing, or make a new file if this one holds other rows.

        Args:
            anew: Whether to make a new file in any case.
        """
        with _locked(self.path):
            self._records = self._map()
            sound = self._sound()
            if anew or sound < len(self._records) or not self._is_ours():
                self._replace()
                sound = 0
            with self.path.open("r+b") as file:
                self._append(file, sound)
        self._records = self._map()

    def read(self, tasks: slice) -> Rows:
        """Return the rows of some tasks; a damaged one is made and written again.

        Returns:
            Array of the type of a row [tasks], as a rule backed by the file.
        """
        records = self._records[tasks]
        damaged = np.flatnonzero(_checksums(records) != records["check"])
        if len(damaged):
            records = np.array(records)
        for k in damaged:
            records[k : k + 1] = self._restored(tasks.start + int(k))
        rows: Rows = records["row"]
        return rows

    def _is_ours(self) -> bool:
        if not self.path.exists():
            return False
        with self.path.open("rb") as file:
            return file.read(_HEADER) == self._header()

    def _map(self) -> Rows:
        """Whole records of the file as far as the catalogue knows them; none where the file is another."""
        if not self._is_ours():
            return np.empty(0, self._record)
        n = min((self.path.stat().st_size - _HEADER) // self._record.itemsize, len(self._ids))
        if not n:
            return np.empty(0, self._record)
        return np.memmap(self.path, self._record, "r", _HEADER, (n,)).view(np.ndarray)

    def _sound(self) -> int:
        """Number of leading records that belong to the catalogue's fingerprints."""
        known = self._records["id"]
        wrong = np.flatnonzero((known != self._ids[: len(known)]).any(axis=1))
        return int(wrong[0]) if len(wrong) else len(known)

    def _header(self) -> bytes:
        about = {"fedprint": "rows", "format": 1, "row": repr(self._record.descr)}
        return canonical_json(about).ljust(_HEADER)

    def _replace(self) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._header())
        Path(name).replace(self.path)

    def _append(self, file: IO[bytes], start: int) -> None:
        file.seek(_HEADER + start * self._record.itemsize)
        size = max(1, _BATCH // self._record.itemsize)
        for first in range(start, len(self._ids), size):
            file.write(self._complete(slice(first, min(first + size, len(self._ids)))).tobytes())

    def _restored(self, k: int) -> Rows:
        record = self._complete(slice(k, k + 1))
        with _locked(self.path), self.path.open("r+b") as file:
            file.seek(_HEADER + k * self._record.itemsize)
            file.write(record.tobytes())
        return record

    def _complete(self, tasks: slice) -> Rows:
        """Return the records of some tasks: id, checksum and row."""
        records = np.zeros(tasks.stop - tasks.start, self._record)
        records["id"], records["row"] = self._ids[tasks], self._make(tasks)
        records["check"] = _checksums(records)
        return records


def _record(row: "np.dtype[Any]") -> "np.dtype[Any]":
    """Id, checksum and row, padded to a multiple of eight bytes."""
    padding = -row.itemsize % 8
    return np.dtype([("id", np.uint8, (_ID,)), ("check", "<u8"), ("row", row), ("pad", np.uint8, (padding,))])


def _checksums(records: Rows) -> npt.NDArray[np.uint64]:
    """Sum of the eight-byte words of every row, modulo 2^64: a missing page or sector changes it."""
    words = records.view(np.uint8).reshape(len(records), -1)[:, _GUARD:].view("<u8")
    sums: npt.NDArray[np.uint64] = words.sum(axis=1, dtype=np.uint64)
    return sums


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing the files of this folder meanwhile."""
    with (path.parent / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
