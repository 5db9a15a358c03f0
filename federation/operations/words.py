"""What is observed, in words for people."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from federation.expiry import Expiry, Urgency, expiry_of
from federation.operations.disk import Disk
from federation.operations.processes import Process
from federation.operations.readings import Readings

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def say_bytes(n: float) -> str:
    """Return a size in the unit that suits it, with powers of 1000."""
    size, unit = float(n), _UNITS[0]
    for larger in _UNITS[1:]:
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == _UNITS[0] else f"{size:.1f} {unit}"


def say_number(n: int, of: str) -> str:
    """Return how many there are of something."""
    return f"{n:,} {of}{'' if n == 1 else 's'}"


def say_moment(at: float | None) -> str:
    """Return a moment in UTC, to the minute."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def say_processes(processes: Iterable[Process] | None) -> str:
    """Return in one line what runs."""
    known = tuple(processes or ())
    runs = [process.name for process in known if process.runs]
    if not runs:
        return "nothing runs"
    stopped = [f"{p.name} (exit status {p.last_exit})" for p in known if not p.runs]
    restarted = [f"{p.name} {p.restarts}×" for p in known if p.restarts]
    parts = [f"{', '.join(runs)} run"]
    parts += [f"not running: {', '.join(stopped)}"] if stopped else []
    parts += [f"started again: {', '.join(restarted)}"] if restarted else []
    return "; ".join(parts)


def say_disk(disk: Disk | None) -> str:
    """Return how much room there is."""
    return "unknown" if disk is None else f"{say_bytes(disk.free)} free of {say_bytes(disk.total)}"


def expiries(ends: Mapping[tuple[str, str], float] | None, now: float) -> tuple[Expiry, ...]:
    """Return what ends, the next one first.

    Args:
        ends: Kind and name → Unix time in seconds.
        now: Unix time in seconds.
    """
    known = (expiry_of(f"{kind} {name}", at, now) for (kind, name), at in (ends or {}).items())
    return tuple(sorted(known, key=lambda expiry: expiry.at))


def say_expiries(known: Iterable[Expiry]) -> str:
    """Return what ends soonest; all that is urgent, or else the next one."""
    shown = list(known)
    urgent = [str(expiry) for expiry in shown if expiry.urgency is not Urgency.OK]
    return "; ".join(urgent) or (str(shown[0]) if shown else "nothing known")


def say_problems(readings: Readings) -> Iterator[str]:
    """Yield what could not be read, with its remedy."""
    for name, error in sorted(readings.problems.items()):
        yield f"{name}: {error}"
