"""What stands against saying that a hub or site is ready."""

from collections.abc import Iterable, Mapping

from federation.operations.disk import Disk
from federation.operations.processes import Process

EXPIRED, NO_ROOM, STOPPED = "expired", "no-room", "stopped"


def against(
    needed: Mapping[str, str],
    disk: Disk | None,
    ends: Iterable[float],
    processes: Iterable[Process] | None,
    now: float,
) -> dict[str, str]:
    """Return part → code of what stands against work; empty when ready.

    Args:
        needed: Part that work cannot do without → code of why it cannot be read.
        disk: Where the folder lies, if it is known.
        ends: When the certificates that are needed end, Unix time in seconds.
        processes: What the supervisor keeps running, if it is known.
        now: Unix time in seconds.
    """
    found = dict(needed)
    if disk is not None and not disk.is_enough:
        found["disk"] = NO_ROOM
    if any(end <= now for end in ends):
        found["certificates"] = EXPIRED
    if any(not process.runs for process in processes or ()):
        found["processes"] = STOPPED
    return found
