"""What the catalogue says of jobs and fingerprints, counted by the database."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from aggregator import schema
from aggregator.jobs.job import DONE, FAILED, WAITING, Job
from aggregator.jobs.queue import JobQueue
from aggregator.store import Catalogue

_job = schema.job.c
_LATEST = 10


@dataclass(frozen=True)
class CatalogueReading:
    """What a catalogue holds at a moment.

    Args:
        jobs: Kind and state → number of jobs.
        attempts: Kind → how often jobs were begun.
        failures: Kind and code → number of jobs that failed so.
        last_finished: Kind → when the last job ended well, Unix time in seconds.
        fingerprints: Number of fingerprints that are current.
        log_entries: Number of entries of the log.
        latest: The jobs that were asked for last, newest first.
    """

    jobs: Mapping[tuple[str, str], int]
    attempts: Mapping[str, int]
    failures: Mapping[tuple[str, str], int]
    last_finished: Mapping[str, float]
    fingerprints: int
    log_entries: int
    latest: tuple[Job, ...]

    @property
    def waiting(self) -> int:
        """Length of the queue."""
        return sum(n for (_, state), n in self.jobs.items() if state == WAITING)


def read_catalogue(catalogue: Catalogue) -> CatalogueReading:
    """Return what a catalogue holds now.

    Raises:
        StoreError: If it cannot be read.
    """
    latest = tuple(JobQueue(catalogue).list(_LATEST))
    return catalogue.read(lambda connection: _reading(connection, latest))


def _reading(connection: sa.Connection, latest: tuple[Job, ...]) -> CatalogueReading:
    return CatalogueReading(
        jobs=_by_two(connection, _job.state),
        attempts=dict(_rows(connection, sa.select(_job.kind, sa.func.sum(_job.attempts)), _job.kind)),
        failures=_by_two(connection, _job.code, _job.state == FAILED),
        last_finished=_last_finished(connection),
        fingerprints=_count(connection, schema.fingerprint, schema.fingerprint.c.current),
        log_entries=_count(connection, schema.event),
        latest=latest,
    )


def _by_two(
    connection: sa.Connection, column: sa.Column[str], where: sa.ColumnElement[bool] | None = None
) -> dict[tuple[str, str], int]:
    """Count jobs by kind and another column."""
    query = sa.select(_job.kind, column, sa.func.count())
    query = query if where is None else query.where(where)
    return {(kind, value): n for kind, value, n in _rows(connection, query, _job.kind, column)}


def _last_finished(connection: sa.Connection) -> dict[str, float]:
    query = sa.select(_job.kind, sa.func.max(_job.finished_at)).where(_job.state == DONE)
    return {kind: at for kind, at in _rows(connection, query, _job.kind) if at is not None}


def _rows(connection: sa.Connection, query: sa.Select, *by: sa.Column) -> list:  # type: ignore[type-arg]
    return [tuple(row) for row in connection.execute(query.group_by(*by))]


def _count(connection: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool] | None = None) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    return int(connection.execute(query if where is None else query.where(where)).scalar_one())
