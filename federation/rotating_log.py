"""A log file that is renamed once it has grown, so that it never fills a disk."""

import io
import os
from pathlib import Path


class RotatingLog:
    """Appends to a file; when it has grown to its limit it becomes ``NAME.1``, that one ``NAME.2`` and so on.

    Only the owner can read the files.

    Args:
        path: The file; folders above it are made.
        limit: Bytes at which it is renamed.
        keep: How many renamed files are kept.
    """

    def __init__(self, path: Path, *, limit: int = 10_000_000, keep: int = 5) -> None:
        self._path, self._limit, self._keep = path, limit, keep
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def write(self, data: bytes) -> None:
        """Append some bytes; what cannot be written, on a full disk, is lost without a word."""
        try:
            if self._size + len(data) > self._limit and self._size:
                self._rotate()
            self._size += os.write(self._file, data)
        except OSError:
            return

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._file).st_size

    def _rotate(self) -> None:
        names = [self._path, *(Path(f"{self._path}.{k}") for k in range(1, self._keep + 1))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if newer.exists():
                newer.replace(older)
        os.close(self._file)
        self._open()


class LogStream(io.TextIOBase):
    """A rotating log as a text stream, for what writes lines.

    Args:
        log: Where they go.
    """

    def __init__(self, log: RotatingLog) -> None:
        self._log = log

    def write(self, text: str) -> int:
        """Append some text."""
        self._log.write(text.encode("utf-8", "backslashreplace"))
        return len(text)
