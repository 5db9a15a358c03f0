"""The ledger's files: one process at a time, and a line is durable or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from federation.errors import LedgerError, StoreError
from federation.files import locked, write_atomically

_PRIVATE = 0o600


@dataclass(frozen=True)
class LedgerFiles:
    """Where a site keeps its ledger.

    Args:
        folder: The site's state folder.
    """

    folder: Path

    @property
    def ledger(self) -> Path:
        """One signed entry per line."""
        return self.folder / "ledger.jsonl"

    @property
    def head(self) -> Path:
        """Signed number and hash of the last entry."""
        return self.folder / "ledger.head"

    @property
    def lock(self) -> Path:
        """Held by whoever reads or writes the ledger."""
        return self.folder / "ledger.lock"

    @property
    def releases(self) -> tuple[Path, ...]:
        """The kept releases of all jobs."""
        return tuple(sorted(self.folder.glob("releases/*/*.safetensors")))

    @contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[None]:
        """Keep every other process and thread away from the ledger.

        Args:
            wait: Whether to wait for whoever reads or writes it now.

        Raises:
            BusyError: If somebody does and nobody waits.
            StoreError: If the folder cannot be written.
        """
        with locked(self.lock, wait=wait):
            yield

    def read(self) -> bytes:
        """Return the ledger's bytes, none if there is no file.

        Raises:
            LedgerError: If it cannot be read.
        """
        return _read(self.ledger)

    def read_head(self) -> bytes:
        """Return the head's bytes, none if there is no file.

        Raises:
            LedgerError: If it cannot be read.
        """
        return _read(self.head)

    def append(self, line: bytes) -> None:
        """Add bytes to the ledger and wait until they are on the disk.

        Raises:
            StoreError: If that fails; the ledger is then as long as before.
        """
        descriptor = -1
        try:
            descriptor = os.open(self.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _PRIVATE)
            before = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, line)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, before)
                raise
        except OSError as error:
            raise _unwritable(self.ledger, error) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def truncate(self, length: int) -> None:
        """Cut the ledger to a length.

        Raises:
            StoreError: If that fails.
        """
        try:
            with self.ledger.open("r+b") as file:
                file.truncate(length)
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self.ledger, error) from error

    def write_head(self, head: bytes) -> None:
        """Replace the head.

        Raises:
            StoreError: If that fails; the head is then as before.
        """
        write_atomically(self.head, head)

    def sync(self) -> None:
        """Wait until the folder itself, with the names of new files, is on the disk.

        Raises:
            StoreError: If that fails.
        """
        try:
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unwritable(self.folder, error) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be read: {error.strerror}",
            remedy="correct the permissions; nothing leaves until then",
        ) from error


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be written: {error.strerror}",
        remedy="free space or correct permissions; nothing leaves, and asking again never charges twice",
    )
