"""Reading and writing whole files: complete and durable, or not at all."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from federation.errors import BusyError, StoreError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_atomically(path: Path, data: bytes) -> None:
    """Put a file in place as a whole or not at all, and make it durable; missing folders are made.

    Only the owner can read it.

    Raises:
        StoreError: If the disk is full or the place cannot be written; what was there before remains.
    """
    _write(path, data, lambda temporary: temporary.replace(path))


def create_atomically(path: Path, data: bytes) -> None:
    """Put a new file in place as a whole, as ``write_atomically`` does; one that is there already stays.

    Raises:
        StoreError: If the disk is full or the place cannot be written.
    """
    _write(path, data, lambda temporary: _link(temporary, path))


def make_private(folder: Path) -> Path:
    """Make a folder that only its owner can enter, or make one that is there so, and return it.

    Raises:
        StoreError: If it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be made: {error.strerror}", remedy="correct the permissions of the folder above"
        ) from error
    return folder


def check_place(path: Path) -> None:
    """Refuse a place where no file can be written, before any work is done for it.

    Raises:
        StoreError: If it is a folder, or lies in something that is no writable folder.
    """
    if path.is_dir():
        raise StoreError(
            f"{path} cannot be written: it is a folder", remedy=f"name a file, such as {path / 'report.html'}"
        )
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise StoreError(
            f"{path} cannot be written: {above} is no folder that you may write to",
            remedy="choose a file in a folder that you may write to",
        )


def remove_durably(path: Path) -> None:
    """Remove a file, if it is there, so that it does not come back after a power failure.

    Raises:
        StoreError: If it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        if path.parent.exists():
            _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be removed: {error.strerror}", remedy="correct the folder's permissions"
        ) from error


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other threads and processes that lock the same file waiting; the lock ends with the process.

    Args:
        path: The file.
        wait: Whether to wait for others that hold the lock.

    Raises:
        BusyError: If another holds the lock and nobody waits.
        StoreError: If the file cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be opened: {error.strerror}",
            remedy="free disk space or correct the folder's permissions",
        ) from error
    try:
        _lock(lock, path, wait)
        yield
    finally:
        os.close(lock)


def read_file(path: Path, what: str) -> bytes:
    """Return the bytes of a file.

    Args:
        path: The file.
        what: What it is, for the message of the error.

    Raises:
        StoreError: If it does not exist or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"{what} {path} cannot be read: {error.strerror}", remedy="check the path and its permissions"
        ) from error


def _write(path: Path, data: bytes, put: Callable[[Path], object]) -> None:
    temporary = None
    if path.is_dir():
        raise StoreError(f"{path} cannot be written: it is a folder", remedy="name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        put(Path(temporary))
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path} ({len(data):,} bytes) cannot be written: {error.strerror or error}",
            remedy=_remedy(error, path),
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _lock(descriptor: int, path: Path, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError(f"{path} is locked by another worker", remedy="ask again later") from error


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable: a file's content alone does not outlive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(temporary: Path, path: Path) -> None:
    """Give a complete file its name; of two processes that do so at once, the first one wins."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        temporary.replace(path)


def _remedy(error: OSError, path: Path) -> str:
    if error.errno in _NO_ROOM:
        return f"free some space on the disk of {path.parent}, or choose another place; nothing was changed"
    return "choose a file in a folder that you may write to; nothing was changed"
