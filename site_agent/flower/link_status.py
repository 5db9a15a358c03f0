"""Whether the site is connected to its hub, in a file that other processes read."""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from federation.canonical import canonical_json
from federation.errors import StoreError
from federation.files import write_atomically

_REFRESH_S = 30.0
_STALE_S = 3 * _REFRESH_S
log = logging.getLogger("fedprint.site")


@dataclass(frozen=True)
class Link:
    """The connection to the hub as it was last seen.

    Args:
        connected: Whether it stands.
        since: Unix time since when it stands or is lost.
        last_error: Why it was last lost, in words for a person; empty if it never was.
        waiting_bundles: How many app bundles wait for approval.
        updated: Unix time when the process that keeps the connection last wrote.
    """

    connected: bool = False
    since: float = 0.0
    last_error: str = ""
    waiting_bundles: int = 0
    updated: float = 0.0

    def is_kept(self, now: float) -> bool:
        """Return whether a process keeps the connection, or tries to."""
        return now - self.updated <= _STALE_S


class LinkStatus:
    """Writes what changes, and every half minute that the writer is alive.

    Args:
        path: The file.
        clock: Unix time.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = path, clock
        self._lock = threading.Lock()
        self._link = Link(since=clock())

    def connected(self) -> None:
        """The connection stands."""
        if not self._link.connected:
            log.info("connected to the hub")
            self._change(connected=True, since=self._clock())

    def lost(self, why: str) -> None:
        """There is no connection; the reason is logged once, however often it is met.

        Args:
            why: One sentence and a remedy.
        """
        if self._link.connected or why != self._link.last_error:
            log.error("not connected to the hub: %s", why)
        since = self._clock() if self._link.connected else self._link.since
        self._change(connected=False, since=since, last_error=why)

    def waiting(self, n_bundles: int) -> None:
        """So many app bundles wait for approval."""
        if n_bundles != self._link.waiting_bundles:
            self._change(waiting_bundles=n_bundles)

    def refresh(self) -> None:
        """Say that the writer is alive, if it has not been said for a while."""
        if self._clock() - self._link.updated >= _REFRESH_S:
            self._change()

    def _change(self, **changed: float | str) -> None:
        with self._lock:
            self._link = replace(self._link, updated=self._clock(), **changed)  # type: ignore[arg-type]
            with suppress(StoreError):  # a full disk must not end the connection
                write_atomically(self._path, canonical_json(asdict(self._link)))


def read_link(path: Path, now: float) -> Link:
    """Return the connection as it was last seen.

    Args:
        path: The file.
        now: Unix time; a connection that nobody has confirmed for a while counts as lost.
    """
    try:
        link = Link(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return Link(last_error="fedprint site serve has not run here yet")
    if link.is_kept(now):
        return link
    return replace(link, connected=False, since=link.updated)
