"""The catalogue on disk: spaces, accepted fingerprints, distances, runs and events.

Distances are stored as *borders*: the fingerprint that entered as number k keeps its distances to and from
the k fingerprints before it. Adding a fingerprint therefore writes one row and one column and never touches
what is already there.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from aggregator import outcome_table, schema
from aggregator.log import storage as log_storage
from aggregator.outcome_table import Imported
from aggregator.outcomes import Outcome
from federation.canonical import canonical_json
from federation.container import read_head
from federation.errors import StoreError, UnknownNameError
from federation.fingerprint import Fingerprint
from federation.names import task_key
from federation.space import Space

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Border:
    """Distances of one fingerprint to and from those that entered its space before it.

    Args:
        to_earlier: float64 [k + 1], this one as source; the last entry is its distance to itself.
        from_earlier: float64 [k], this one as target.
    """

    to_earlier: Values
    from_earlier: Values


@dataclass(frozen=True)
class Entry:
    """An accepted fingerprint and its place in the catalogue.

    Args:
        seq: Order of arrival.
        fingerprint_id: SHA-256 of the signed fingerprint.
        current: False once the site has sent a newer one for the same task.
        received_at: Unix time of arrival.
        fingerprint: The fingerprint, whole and bound to its space, or without its sketches.
    """

    seq: int
    fingerprint_id: str
    current: bool
    received_at: float
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Listing:
    """What the catalogue knows of a fingerprint without reading its sketches.

    Args:
        seq: Order of arrival.
        fingerprint_id: SHA-256 of the signed fingerprint.
        site: Name of the site.
        task: Name of the task.
        current: False once the site has sent a newer one for the same task, or withdrawn it.
        received_at: Unix time of arrival.
    """

    seq: int
    fingerprint_id: str
    site: str
    task: str
    current: bool
    received_at: float

    @property
    def key(self) -> str:
        """Address of the task in the consortium: ``site/task``."""
        return task_key(self.site, self.task)


class Catalogue:
    """The aggregator's durable memory.

    Args:
        path: SQLite file.
        create: Whether a missing file is made; reading commands do not.

    Raises:
        StoreError: If the file is missing, unreadable or no catalogue.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if not create and not path.is_file():
            raise StoreError(
                f"there is no catalogue at {path}",
                remedy="run `fedprint demo` or `fedprint simulate` first, or name another with --catalogue",
            )
        self.path = path
        self._engine = sa.create_engine(f"sqlite:///{path}")
        sa.event.listen(self._engine, "connect", _configure)
        with self._errors():
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
                schema.metadata.create_all(self._engine)
                path.chmod(0o600)  # it may hold exact histograms
            elif not sa.inspect(self._engine).has_table("fingerprint"):
                raise StoreError(f"{path} is no catalogue", remedy="name the catalogue.sqlite of a run")

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator["CatalogueWriter"]:
        """Open one transaction: everything written in it is kept, or nothing.

        Raises:
            StoreError: If the disk is full or the file cannot be written.
        """
        with self._errors(), self._engine.begin() as connection:
            writer = CatalogueWriter(connection)
            yield writer
            writer.write_log()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open one transaction for tables that are looked after elsewhere; errors as of ``writing``."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    def latest_space(self) -> Space:
        """Return the space that was used last.

        Raises:
            StoreError: If the catalogue holds none.
        """
        query = sa.select(schema.space.c.content).order_by(schema.space.c.added_at.desc()).limit(1)
        with self._errors(), self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise StoreError(f"catalogue {self.path} is empty", remedy="fingerprint some tasks first")
        return Space.from_bytes(row.content)

    def entries(self, space: Space) -> list[Entry]:
        """Return every fingerprint ever accepted in a space, in order of arrival."""
        query = sa.select(schema.fingerprint).where(schema.fingerprint.c.space_id == space.space_id)
        with self._errors(), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(schema.fingerprint.c.seq)).all()
        return [
            Entry(
                r.seq,
                r.fingerprint_id,
                r.current,
                r.received_at,
                Fingerprint.from_bytes(r.content).bind(space),
            )
            for r in rows
        ]

    def listings(self, space: Space) -> list[Listing]:
        """Return a line for every fingerprint ever accepted in a space, in order of arrival."""
        table = schema.fingerprint.c
        columns = (table.seq, table.fingerprint_id, table.site, table.task, table.current, table.received_at)
        query = sa.select(*columns).where(table.space_id == space.space_id).order_by(table.seq)
        with self._errors(), self._engine.connect() as connection:
            return [Listing(*row) for row in connection.execute(query)]

    def tasks(self, listings: Iterable[Listing]) -> list[Entry]:
        """Return the current ones of some fingerprints, without sketches, reading only their beginnings."""
        current = [listing for listing in listings if listing.current]
        heads = self.heads(listing.seq for listing in current)
        return [
            Entry(known.seq, known.fingerprint_id, known.current, known.received_at, head)
            for known, head in zip(current, heads, strict=True)
        ]

    def fingerprint(self, seq: int, space: Space) -> Fingerprint:
        """Return one fingerprint, bound to its space."""
        return Fingerprint.from_bytes(self.content(seq)).bind(space)

    def content(self, seq: int) -> bytes:
        """Return one fingerprint as its site sent it."""
        query = sa.select(schema.fingerprint.c.content).where(schema.fingerprint.c.seq == seq)
        with self._errors(), self._engine.connect() as connection:
            content: bytes = connection.execute(query).scalar_one()
        return content

    def heads(self, seqs: Iterable[int]) -> list[Fingerprint]:
        """Return fingerprints without their sketches, reading only the beginning of each."""
        with self._errors(), self._engine.connect() as connection:
            driver = cast("sqlite3.Connection", connection.connection.driver_connection)
            return [Fingerprint.from_head(_head(driver, seq)) for seq in seqs]

    def first_without_border(self, space: Space, distance: str) -> int | None:
        """Return ``seq`` of the first fingerprint of a space whose border of a distance is not stored.

        Borders are stored in order of arrival, so it is the one after the last that has one.
        """
        table = schema.fingerprint.c
        border = sa.exists().where(schema.border.c.seq == table.seq, schema.border.c.distance == distance)
        here = sa.select(table.seq).where(table.space_id == space.space_id)
        with self._errors(), self._engine.connect() as connection:
            last = connection.execute(here.where(border).order_by(table.seq.desc()).limit(1)).scalar() or 0
            first: int | None = connection.execute(
                here.where(table.seq > last).order_by(table.seq).limit(1)
            ).scalar()
        return first

    def column(self, listings: Sequence[Listing], k: int, distance: str) -> Values:
        """Return the distances to one fingerprint from all of its space, without reading the whole matrix.

        Args:
            listings: Every fingerprint of the space, in order of arrival.
            k: Position of the target.
            distance: Name of a distance whose borders are all stored.

        Returns:
            float64 [n_fingerprints].
        """
        entry = sa.func.substr(schema.border.c.to_earlier, 8 * k + 1, 8).label("value")
        here = schema.border.c.distance == distance
        earlier = sa.select(schema.border.c.from_earlier).where(here, schema.border.c.seq == listings[k].seq)
        later = sa.select(schema.border.c.seq, entry).where(here, schema.border.c.seq >= listings[k].seq)
        with self._errors(), self._engine.connect() as connection:
            above = _floats(connection.execute(earlier).scalar_one())
            below = {row.seq: row.value for row in connection.execute(later)}
        return np.concatenate([above, _floats(b"".join(below[entry.seq] for entry in listings[k:]))])

    def borders(self, space: Space, distance: str, seqs: Iterable[int] | None = None) -> dict[int, Border]:
        """Return the stored borders of a distance by ``seq``, by default of every fingerprint of a space."""
        query = (
            sa.select(schema.border)
            .join(schema.fingerprint)
            .where(schema.fingerprint.c.space_id == space.space_id, schema.border.c.distance == distance)
        )
        if seqs is not None:
            query = query.where(schema.border.c.seq.in_(list(seqs)))
        with self._errors(), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return {r.seq: Border(_floats(r.to_earlier), _floats(r.from_earlier)) for r in rows}

    def outcomes(self) -> list[Outcome]:
        """Return the measured outcomes, ordered by scenario, metric, seed, source and target."""
        with self._errors(), self._engine.connect() as connection:
            return outcome_table.read(connection)

    def events(self) -> list[dict[str, Any]]:
        """Return what happened, oldest first."""
        with self._errors(), self._engine.connect() as connection:
            entries = list(log_storage.entries(connection))
        return [{"at": e.at, "kind": e.kind, "job": e.job_id, **e.detail} for e in entries]

    def shared_images(self) -> dict[str, list[str]]:
        """Return group → addresses of tasks that share images, as the latest run was configured with."""
        return dict(self._latest_summary().get("shared_images", {}))

    def listening(self) -> list[str]:
        """Return the addresses of tasks that released nothing in the latest run but ranked for themselves."""
        return list(self._latest_summary().get("listening", []))

    def _latest_summary(self) -> dict[str, Any]:
        with self._errors(), self._engine.connect() as connection:
            row = connection.execute(_latest_run()).first()
        return dict(json.loads(row.summary)) if row else {}

    def run_summary(self, job_id: str | None = None) -> dict[str, Any]:
        """Return the summary of a run, by default of the latest.

        Raises:
            UnknownNameError: If there is no such run.
        """
        query = _latest_run()
        if job_id is not None:
            query = query.where(schema.run.c.job_id == job_id)
        with self._errors(), self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise UnknownNameError(f"catalogue {self.path} holds no finished run {job_id or ''}".rstrip())
        summary: dict[str, Any] = json.loads(row.summary)
        return {"job": row.job_id, "finished_at": row.finished_at, **summary}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            cause = str(getattr(error, "orig", None) or error)
            damaged = "malformed" in cause or "not a database" in cause
            raise StoreError(
                f"catalogue {self.path} cannot be used: {cause}",
                remedy="it is damaged or no catalogue: restore it from a backup, or name another"
                if damaged
                else "check free disk space and permissions; what was stored before is unchanged",
            ) from error


class CatalogueWriter:
    """Writes within one transaction of a catalogue."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._happened: list[log_storage.Happening] = []

    def add_space(self, space: Space) -> None:
        """Store a space, or mark a known one as used last."""
        known = self._connection.execute(
            sa.update(schema.space)
            .where(schema.space.c.space_id == space.space_id)
            .values(added_at=time.time())
        )
        if not known.rowcount:
            row = {"space_id": space.space_id, "added_at": time.time(), "content": space.to_bytes()}
            self._connection.execute(sa.insert(schema.space).values(row))

    def add_fingerprint(self, fingerprint: Fingerprint) -> bool:
        """Store a fingerprint; it replaces an older one of the same task as the current one.

        Returns:
            False if exactly this fingerprint was there already.
        """
        table = schema.fingerprint.c
        same_task = sa.and_(
            table.site == fingerprint.site,
            table.task == fingerprint.card.task,
            table.space_id == fingerprint.space_id,
        )
        self._connection.execute(sa.update(schema.fingerprint).where(same_task).values(current=False))
        known = self._connection.execute(
            sa.update(schema.fingerprint)
            .where(table.fingerprint_id == fingerprint.fingerprint_id)
            .values(current=True)
        )
        if known.rowcount:
            return False
        self._connection.execute(
            sa.insert(schema.fingerprint).values(
                fingerprint_id=fingerprint.fingerprint_id,
                space_id=fingerprint.space_id,
                site=fingerprint.site,
                task=fingerprint.card.task,
                received_at=time.time(),
                current=True,
                content=fingerprint.to_bytes(),
            )
        )
        return True

    def withdraw(self, seq: int) -> None:
        """Take a fingerprint out of the current view; what was accepted stays on record."""
        self._connection.execute(
            sa.update(schema.fingerprint).where(schema.fingerprint.c.seq == seq).values(current=False)
        )

    def add_border(self, seq: int, distance: str, border: Border) -> None:
        """Store the distances of one fingerprint to and from the earlier ones."""
        row = {"to_earlier": border.to_earlier.tobytes(), "from_earlier": border.from_earlier.tobytes()}
        # Another process may have stored the same border meanwhile.
        insert = sa.insert(schema.border).prefix_with("OR IGNORE", dialect="sqlite")
        self._connection.execute(insert.values(seq=seq, distance=distance, **row))

    def add_outcomes(self, outcomes: Iterable[Outcome], *, replace: bool = False) -> Imported:
        """Store measured outcomes; those that are there already stay as they are.

        Raises:
            OutcomeError: If one is there with another value and ``replace`` is not set, or a target would
                get two baselines.
        """
        return outcome_table.add(self._connection, outcomes, replace=replace)

    def outcomes(self) -> list[Outcome]:
        """Return the measured outcomes as this transaction leaves them."""
        return outcome_table.read(self._connection)

    def remove_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Delete measured outcomes that are there."""
        outcome_table.remove(self._connection, outcomes)

    def add_event(self, kind: str, job_id: str, **detail: Any) -> None:
        """Append to the log of what happened, at the end of the transaction; see docs/log.md."""
        self._happened.append(log_storage.Happening(kind, job_id, detail))

    def write_log(self) -> None:
        """Write what was appended to the log; from then on other writers wait for the transaction's end."""
        log_storage.append(self._connection, self._happened)
        self._happened.clear()

    def finish_run(self, job_id: str, space: Space, summary: dict[str, Any]) -> None:
        """Record how a run ended; the same job run again replaces its summary."""
        self._connection.execute(sa.delete(schema.run).where(schema.run.c.job_id == job_id))
        row = {"job_id": job_id, "finished_at": time.time(), "space_id": space.space_id}
        self._connection.execute(sa.insert(schema.run).values(**row, summary=canonical_json(summary)))


def _latest_run() -> sa.Select[Any]:
    return sa.select(schema.run).order_by(schema.run.c.finished_at.desc()).limit(1)


def _head(connection: sqlite3.Connection, seq: int) -> bytes:
    """The beginning of a stored fingerprint, up to where its arrays start."""
    with connection.blobopen("fingerprint", "content", seq, readonly=True) as blob:
        return read_head(blob.read)


def _floats(data: bytes) -> Values:
    return np.frombuffer(data, dtype=np.float64)


def _configure(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA busy_timeout = 10000")
