"""Whether what left the site is in the log: accepted, or named as missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from federation.log.entry import Entry
from federation.log.kinds import ACCEPTED, MISSING, ROUND, STEP

_RELEASED = "released"


@dataclass(frozen=True)
class Release:
    """Something that left, as the site's own log has it.

    Args:
        job_id: The job that it was made for.
        task: Name of the task.
        kind: ``"fingerprint"``, ``"round"`` or ``"step"``.
        name: Id of the fingerprint, of the round, or of the step.
        at: Unix time in seconds.
    """

    job_id: str
    task: str
    kind: str
    name: str
    at: float

    def is_in(self, entries: Iterable[Entry], site: str) -> bool:
        """Return whether entries of the log account for it.

        Args:
            entries: Entries about the site.
            site: Name of the site.
        """
        return any(self._is_told_by(entry, site) for entry in entries)

    def __str__(self) -> str:
        return f"{self.kind} {self.name[:16]} of task {self.task} (job {self.job_id})"

    def _is_told_by(self, entry: Entry, site: str) -> bool:
        detail = entry.detail
        if self.kind == STEP:
            return entry.kind == STEP and detail.get("step") == self.name
        if self.kind == ROUND:
            return entry.kind == ROUND and detail.get("round") == self.name
        if entry.kind == ACCEPTED:
            return detail.get("id") == self.name
        named = entry.kind == MISSING and detail.get("site") == site
        return named and entry.job_id == self.job_id and detail.get("task") in ("", self.task)


def releases_of(events: Iterable[Mapping[str, Any]]) -> list[Release]:
    """Return what left, in order.

    Args:
        events: The site's own log.
    """
    keys = (("fingerprint", "fingerprint"), (ROUND, "round"), (STEP, "step"))
    return [
        Release(
            str(event.get("job", "")), str(event.get("task", "")), kind, str(event[key]), float(event["at"])
        )
        for event in events
        if event.get("event") == _RELEASED
        for kind, key in keys
        if key in event
    ]
