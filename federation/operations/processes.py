"""What the supervisor says of its processes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from federation.errors import StoreError
from federation.files import read_file

_REMEDY = "`fedprint hub serve` and `fedprint site serve` write it anew when they are started"


@dataclass(frozen=True)
class Process:
    """One process of a deployment.

    Args:
        name: What the supervisor calls it.
        runs: Whether it runs now.
        restarts: How often it was started again.
        last_exit: Exit status with which it ended last; None: it never did.
    """

    name: str
    runs: bool
    restarts: int
    last_exit: int | None


def read_processes(status: Path) -> tuple[Process, ...]:
    """Return the processes by name; none of a supervisor that no longer runs does either.

    Args:
        status: The supervisor's status file.

    Raises:
        StoreError: If it is missing or damaged.
    """
    if not status.exists():
        raise StoreError(f"there is no {status}: nothing serves from this folder", remedy=_REMEDY)
    try:
        told = json.loads(read_file(status, "status"))
        alive = _is_alive(int(told["pid"]))
        processes = (_process(name, known, alive) for name, known in told["programs"].items())
        return tuple(sorted(processes, key=lambda process: process.name))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{status} is damaged", remedy=_REMEDY) from error


def _process(name: str, known: dict[str, int | None], supervised: bool) -> Process:
    last = known["last_exit"]
    runs = supervised and known["pid"] is not None
    return Process(name, runs, int(known["restarts"] or 0), None if last is None else int(last))


def _is_alive(pid: int) -> bool:
    """Return whether a process exists; one of another user does."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
