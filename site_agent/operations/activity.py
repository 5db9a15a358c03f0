"""What a site did, counted from its log: messages, releases and codes, nothing of images."""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from site_agent.events import FAILED, MODEL_LEFT, REFUSED, RELEASED, ROUND, SENT, SENT_AGAIN, TRANSFER_FAILED

DONE = "done"
"""Code of a step of a round that was answered."""

_FAILURES = frozenset({FAILED, REFUSED, TRANSFER_FAILED})
_REMEMBERED = 20


@dataclass
class JobSeen:
    """One job as the site took part in it.

    Args:
        job_id: Its id.
        began: When it was first heard of, Unix time in seconds.
        last: When it was last heard of.
        aggregators: Public keys of who got replies.
        replies: Number of replies that left.
        n_bytes: Their size.
        released: Task and mode of what left.
        failed: Task, empty where it concerned all, and code of what was not done.
    """

    job_id: str
    began: float
    last: float
    aggregators: set[str] = field(default_factory=set)
    replies: int = 0
    n_bytes: int = 0
    released: set[tuple[str, str]] = field(default_factory=set)
    failed: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Activity:
    """Everything that was counted so far.

    Args:
        tasks: The site's tasks; what is said of others is counted without a name.
        releases: Task and mode → releases that left for the first time.
        sent_again: Task → times that one left once more.
        models: Task → models that left.
        failures: Task and code → things that were not done.
        replies: Replies that left.
        n_bytes: Their size.
        last_sent: When the last one left, Unix time in seconds; None: never.
        jobs: The latest jobs by id, oldest first.
    """

    tasks: Collection[str]
    releases: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent_again: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    replies: int = 0
    n_bytes: int = 0
    last_sent: float | None = None
    jobs: OrderedDict[str, JobSeen] = field(default_factory=OrderedDict)

    def add_all(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Count events, oldest first."""
        for event in events:
            self.add(event)

    def add(self, event: Mapping[str, Any]) -> None:
        """Count one event; of those about images, nothing is kept."""
        kind, task = event.get("event"), self._task(event)
        if kind == SENT:
            self._add_reply(event)
        elif kind == RELEASED:
            mode = str(event.get("mode", ""))
            self.releases[task, mode] += 1
            self._job(event).released.add((task, mode))
        elif kind == SENT_AGAIN:
            self.sent_again[task] += 1
            self._job(event).released.add((task, SENT_AGAIN))
        elif kind == MODEL_LEFT:
            self.models[task] += 1
            self._job(event).released.add((task, "model"))
        elif kind in _FAILURES or (kind == ROUND and event.get("code") != DONE):
            code = str(event.get("code", ""))
            self.failures[task, code] += 1
            self._job(event).failed.add((task, code))

    def _add_reply(self, event: Mapping[str, Any]) -> None:
        job, size = self._job(event), int(event["bytes"])
        job.replies += 1
        job.n_bytes += size
        job.aggregators.add(str(event["aggregator"]))
        self.replies += 1
        self.n_bytes += size
        self.last_sent = float(event["at"])

    def _job(self, event: Mapping[str, Any]) -> JobSeen:
        job_id, at = str(event.get("job", "")), float(event["at"])
        job = self.jobs.setdefault(job_id, JobSeen(job_id, at, at))
        job.last = at
        self.jobs.move_to_end(job_id)
        while len(self.jobs) > _REMEMBERED:
            self.jobs.popitem(last=False)
        return job

    def _task(self, event: Mapping[str, Any]) -> str:
        """Return the task, empty for what is none of the site's: a request must not make up labels."""
        task = str(event.get("task", ""))
        return task if task in self.tasks else ""
