"""The durable queue of jobs in the catalogue.

Every change is one transaction. The end of a job is said once, by whoever comes first: the process that did
the work, or the runner that gives up; nothing changes it afterwards.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from aggregator import schema
from aggregator.jobs.job import DONE, FAILED, OPEN, RUNNING, WAITING, Job
from aggregator.log.storage import Happening, append, is_told
from aggregator.store import Catalogue
from federation.canonical import canonical_json
from federation.errors import UnknownNameError
from federation.log.kinds import JOB_FINISHED

_job = schema.job


@dataclass(frozen=True)
class JobQueue:
    """The jobs of a catalogue, done one after another in the order in which they were asked for.

    Args:
        catalogue: Where they are kept.
        clock: Unix time in seconds.
    """

    catalogue: Catalogue
    clock: Callable[[], float] = time.time

    def ask(self, kind: str, arguments: Mapping[str, Any] | None = None, job_id: str = "") -> Job:
        """Put a job at the end of the queue; asking again under the same id changes nothing.

        Args:
            kind: What is to be done.
            arguments: What it is done with: strings, numbers and booleans.
            job_id: What identifies it; by default a new random id.

        Returns:
            The job as it stands in the queue.
        """
        job_id = job_id or uuid.uuid4().hex
        with self.catalogue.transaction() as connection:
            if not connection.execute(sa.select(_job.c.job_id).where(_job.c.job_id == job_id)).first():
                connection.execute(sa.insert(_job).values(self._asked(job_id, kind, arguments or {})))
        return self.get(job_id)

    def next(self) -> Job | None:
        """Return the job that is being done, else the oldest that waits; None: there is none."""
        oldest = sa.select(_job).where(_job.c.state.in_(OPEN))
        oldest = oldest.order_by(_job.c.state == WAITING, _job.c.asked_at, _job.c.job_id).limit(1)
        row = self.catalogue.read(lambda connection: connection.execute(oldest).first())
        return _read(row) if row else None

    def began(self, job_id: str, flower_run: str) -> bool:
        """Record a new attempt; False: the job has come to its end meanwhile."""
        return self._change(
            job_id,
            state=RUNNING,
            attempts=_job.c.attempts + 1,
            flower_run=flower_run,
            began_at=self.clock(),
        )

    def interrupted(self, job_id: str, flower_run: str, reason: str) -> bool:
        """Record that an attempt died, so that the job is begun again.

        Args:
            job_id: The job.
            flower_run: Flower's run of the attempt.
            reason: Why it died.

        Returns:
            False if the job has ended, or another attempt at it has begun.
        """
        return self._change(job_id, _job.c.flower_run == flower_run, flower_run="", reason=reason)

    def finished(self, job_id: str) -> bool:
        """Record that a job is done; False: it had ended before."""
        return self._change(job_id, state=DONE, code="", reason="", finished_at=self.clock())

    def failed(self, job_id: str, code: str, reason: str) -> bool:
        """Record that a job cannot be done; False: it had ended before.

        The log is told as well, unless the process that did the work has told it.
        """
        unfinished = sa.and_(_job.c.job_id == job_id, _job.c.state.in_(OPEN))
        values = {"state": FAILED, "code": code, "reason": reason, "finished_at": self.clock()}
        with self.catalogue.transaction() as connection:
            changed = bool(connection.execute(sa.update(_job).where(unfinished).values(**values)).rowcount)
            if changed and not is_told(connection, JOB_FINISHED, job_id):
                kind = connection.execute(sa.select(_job.c.kind).where(_job.c.job_id == job_id)).scalar_one()
                append(connection, [Happening(JOB_FINISHED, job_id, {"job": kind, "code": code})])
        return changed

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            UnknownNameError: If there is none of that id.
        """
        found = self.find(job_id)
        if found is None:
            raise UnknownNameError(
                f"there is no job {job_id!r}", remedy="`fedprint hub jobs` lists those there are"
            )
        return found

    def find(self, job_id: str) -> Job | None:
        """Return one job; None: there is none of that id."""
        wanted = sa.select(_job).where(_job.c.job_id == job_id)
        row = self.catalogue.read(lambda connection: connection.execute(wanted).first())
        return _read(row) if row else None

    def list(self, limit: int = 100) -> list[Job]:
        """Return the latest jobs, newest first."""
        latest = sa.select(_job).order_by(_job.c.asked_at.desc(), _job.c.job_id.desc()).limit(limit)
        return [_read(row) for row in self.catalogue.read(lambda c: c.execute(latest).all())]

    def _asked(self, job_id: str, kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        content = canonical_json(dict(arguments))
        new = {"state": WAITING, "code": "", "reason": "", "attempts": 0, "flower_run": ""}
        return {"job_id": job_id, "kind": kind, "arguments": content, "asked_at": self.clock(), **new}

    def _change(self, job_id: str, *conditions: sa.ColumnElement[bool], **values: Any) -> bool:
        unfinished = sa.and_(_job.c.job_id == job_id, _job.c.state.in_(OPEN), *conditions)
        with self.catalogue.transaction() as connection:
            done = connection.execute(sa.update(_job).where(unfinished).values(**values))
            return bool(done.rowcount)


def _read(row: sa.Row[Any]) -> Job:
    values = dict(row._mapping)
    return Job(**{**values, "arguments": json.loads(values["arguments"])})
