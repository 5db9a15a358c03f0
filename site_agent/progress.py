"""How far a site's long work has come, told to whoever listens."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("fedprint.site")


@dataclass(frozen=True)
class Progress:
    """State of one task's extraction.

    Args:
        site: Name of the site.
        task: Name of the task.
        done: Images finished.
        total: Images planned; an estimate while an adaptive sample grows.
    """

    site: str
    task: str
    done: int
    total: int


Listener = Callable[[Progress], None]


def _to_log(progress: Progress) -> None:
    tenth = max(progress.total // 10, 1)
    if progress.done == progress.total or progress.done % tenth == 0:
        log.info("%s/%s: %d of %d images", progress.site, progress.task, progress.done, progress.total)


_listener: Listener = _to_log
_lock = threading.Lock()


def listen(listener: Listener | None) -> None:
    """Send all further progress to ``listener``; None sends it to the log again."""
    global _listener
    with _lock:
        _listener = listener or _to_log


def report(progress: Progress) -> None:
    """Tell the current listener; calls from several threads come one at a time."""
    with _lock:
        _listener(progress)
