"""What a SuperNode leaves on the disk in case that it is killed."""

import json
import socket
from contextlib import suppress
from pathlib import Path

from federation.canonical import canonical_json
from federation.errors import StoreError
from federation.files import remove_durably, write_atomically

_MACHINE = Path("/etc/machine-id")


class Presence:
    """Remembers that a SuperNode of this machine is connected, until it leaves in order.

    A folder that was copied to another machine says nothing there: the first one may still be connected.

    Args:
        path: The file.
        machine: What tells this machine from others.
    """

    def __init__(self, path: Path, machine: str | None = None) -> None:
        self._path = path
        self._machine = machine or _this_machine()

    def began(self, node_id: int) -> None:
        """A SuperNode is connected under an id."""
        with suppress(StoreError):
            write_atomically(self._path, canonical_json({"node": str(node_id), "machine": self._machine}))

    def ended(self) -> None:
        """It has left."""
        with suppress(StoreError):
            remove_durably(self._path)

    def left_by_a_crash(self) -> int | None:
        """Return the id of a SuperNode of this machine that did not leave in order."""
        try:
            told = json.loads(self._path.read_bytes())
            return int(told["node"]) if told["machine"] == self._machine else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


class Unanswered:
    """The message that is being worked on, without its content.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, message: bytes) -> None:
        """Work on a message begins."""
        with suppress(StoreError):
            write_atomically(self._path, message)

    def read(self) -> bytes | None:
        """Return the message that is not answered yet."""
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    def clear(self) -> None:
        """It is answered."""
        with suppress(StoreError):
            remove_durably(self._path)


def _this_machine() -> str:
    with suppress(OSError):
        if name := _MACHINE.read_text("ascii").strip():
            return name
    return socket.gethostname()
