"""A table on the disk with one row per image, filled bit by bit and mapped into memory.

Only rows that were written are ever read; where the file system allows holes, the others take no room.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from federation.errors import StoreError
from federation.files import locked, write_atomically

Indices = npt.NDArray[np.int64]
Rows = npt.NDArray[Any]

_MISSING, _THERE, _UNREADABLE = 0, 1, 2


@dataclass(frozen=True)
class RowFile:
    """Rows by the position of their image in its source.

    Several processes and threads may use it; whoever fills it holds ``filling``.

    Args:
        folder: Where; nobody else writes there.
        n: Number of rows.
        shape: Of one row.
        dtype: Of one row.
    """

    folder: Path
    n: int
    shape: tuple[int, ...]
    dtype: str

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Keep others that want to fill the file waiting, and note that it was used now."""
        with locked(self.folder / "lock"):
            os.utime(self.folder)
            yield

    def missing(self, indices: Indices) -> Indices:
        """Return those of the rows that were neither written nor found unreadable, ascending, each once."""
        wanted = np.unique(indices)
        return self._in_state(wanted, _MISSING)

    def readable(self, indices: Indices) -> Indices:
        """Return those of the rows that are there, in the order given."""
        return self._in_state(indices, _THERE)

    def unreadable(self, indices: Indices) -> Indices:
        """Return those of the rows whose image cannot be read."""
        return self._in_state(indices, _UNREADABLE)

    def write(self, indices: Indices, rows: Rows, unreadable: Indices | None = None) -> None:
        """Write rows and make them durable, then note that they are there.

        Args:
            indices: int64 [k], distinct.
            rows: [k, *shape].
            unreadable: int64, positions of images without a row.

        Raises:
            StoreError: If the disk is full or the place cannot be written.
        """
        try:
            self._write_rows(indices, np.ascontiguousarray(rows, self.dtype))
        except OSError as error:
            raise StoreError(
                f"{self._path} cannot be written: {error.strerror}",
                remedy="free some space there; what was written before remains",
            ) from error
        states = self._states()
        states[indices] = _THERE
        states[unreadable if unreadable is not None else []] = _UNREADABLE
        write_atomically(self._states_path, states.tobytes())

    @cached_property
    def mapped(self) -> Rows:
        """The whole table, [n, *shape], read from the disk as it is used."""
        rows: Rows = np.load(self._path, mmap_mode="r")
        return rows

    def _write_rows(self, indices: Indices, rows: Rows) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        header, size = self._header, rows[:1].nbytes
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, header, 0)
            os.ftruncate(descriptor, len(header) + self.n * self._row_bytes)
            for index, row in zip(indices.tolist(), rows, strict=True):
                _write_all(descriptor, row.tobytes(), len(header) + index * size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @property
    def _header(self) -> bytes:
        descr = np.dtype(self.dtype).str
        text = repr({"descr": descr, "fortran_order": False, "shape": (self.n, *self.shape)})
        padded = text.ljust(128 - 10 - 1) + "\n"
        return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode("latin1")

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def _path(self) -> Path:
        return self.folder / "rows.npy"

    @property
    def _states_path(self) -> Path:
        return self.folder / "states.bin"

    def _in_state(self, indices: Indices, state: int) -> Indices:
        found: Indices = indices[self._states()[indices] == state]
        return found

    def _states(self) -> npt.NDArray[np.uint8]:
        if not self._states_path.exists():
            return np.zeros(self.n, np.uint8)
        return np.frombuffer(self._states_path.read_bytes(), np.uint8).copy()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
