"""A site's log, of which only what is new is read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from federation.errors import StoreError

_PORTION = 2**20
_LONGEST = 2**20  # no event of ours is longer; what is, was damaged


class LogTail:
    """Reads what was added to a log since it was read last, in constant memory.

    Args:
        path: The log, one JSON object a line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._at = 0, 0
        self._rest = b""

    def was_replaced(self) -> bool:
        """Return whether the file is another one, or shorter, than when it was read; then it is read anew.

        Raises:
            StoreError: If it cannot be reached.
        """
        try:
            found = self._path.stat()
            inode, size = found.st_ino, found.st_size
        except FileNotFoundError:
            inode, size = 0, 0
        except OSError as error:
            raise self._unreadable(error) from error
        replaced = self._inode not in (0, inode) or size < self._at
        if replaced:
            self._at, self._rest = 0, b""
        self._inode = inode
        return replaced

    def new_events(self) -> Iterator[dict[str, Any]]:
        """Yield complete events that were added, oldest first; damaged lines are left out.

        Raises:
            StoreError: If the file cannot be read.
        """
        if not self._inode:
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                while portion := file.read(_PORTION):
                    self._at += len(portion)
                    *lines, self._rest = (self._rest + portion).split(b"\n")
                    self._rest = self._rest[-_LONGEST:]
                    yield from (event for line in lines if (event := _parsed(line)) is not None)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> StoreError:
        return StoreError(
            f"the site log {self._path} cannot be read: {error.strerror}", remedy="correct its permissions"
        )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("at"), float | int) else None
