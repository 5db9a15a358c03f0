"""The catalogue: spaces, accepted fingerprints, distances, runs and events, in a file or on a server.

Distances are stored as *borders*: the fingerprint that entered as number k keeps its distances to and from
the k fingerprints before it. Adding a fingerprint therefore writes one row and one column and never touches
what is already there.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa

from aggregator import outcome_table, schema
from aggregator.catalogue_entries import Border, Entry, Listing, Values
from aggregator.catalogue_place import CataloguePlace, PlaceLike
from aggregator.catalogue_writer import CatalogueWriter
from aggregator.database import Database
from aggregator.database_errors import errors_of
from aggregator.fingerprint_heads import read_heads
from aggregator.log import storage as log_storage
from aggregator.migration import check_revision, upgrade
from aggregator.outcomes import Outcome
from federation.errors import EmptyCatalogueError, UnknownNameError
from federation.fingerprint import Fingerprint
from federation.space import Space

__all__ = ["Border", "Catalogue", "CatalogueWriter", "Entry", "Listing"]

Result = TypeVar("Result")


class Catalogue:
    """The aggregator's durable memory.

    Args:
        place: SQLite file, URL of a database on a server, or both with the folder beside them.
        create: Whether missing tables are made and older ones brought up to date; reading commands do not.

    Raises:
        StoreError: If the catalogue is missing, unreadable, of another version or none at all.
        ConfigError: If a URL is malformed.
    """

    def __init__(self, place: PlaceLike, *, create: bool = False) -> None:
        self.place = CataloguePlace.of(place)
        with errors_of(self.place):
            self._database = Database(self.place, create=create)
        if create:
            upgrade(self._database)
            self._database.keep_log_ahead()
        else:
            check_revision(self._database)

    def close(self) -> None:
        """Release file or connections."""
        self._database.close()

    @contextmanager
    def writing(self) -> Iterator["CatalogueWriter"]:
        """Open one transaction: everything written in it is kept, or nothing.

        Raises:
            StoreError: If the disk is full or the catalogue cannot be written.
        """
        with self._database.writing() as connection:
            writer = CatalogueWriter(connection)
            yield writer
            writer.write_log()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Open one transaction as ``writing`` does, for tables that are looked after elsewhere."""
        with self._database.writing() as connection:
            yield connection

    def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Return what some reading of tables finds that are looked after elsewhere.

        It sees one moment's state, keeps nobody waiting, and is done once more if the server went away.

        Raises:
            StoreError: If the catalogue cannot be read.
        """
        return self._database.read(work)

    def latest_space(self) -> Space:
        """Return the space that was used last.

        Raises:
            EmptyCatalogueError: If the catalogue holds none.
        """
        query = sa.select(schema.space.c.content).order_by(schema.space.c.added_at.desc()).limit(1)
        row = self._first(query)
        if row is None:
            raise EmptyCatalogueError(
                f"catalogue {self.place} is empty", remedy="fingerprint some tasks first"
            )
        return Space.from_bytes(row.content)

    def entries(self, space: Space) -> list[Entry]:
        """Return every fingerprint ever accepted in a space, in order of arrival."""
        query = sa.select(schema.fingerprint).where(schema.fingerprint.c.space_id == space.space_id)
        rows = self._all(query.order_by(schema.fingerprint.c.seq))
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
        return [Listing(**row._mapping) for row in self._all(query)]

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
        return bytes(self.read(lambda connection: connection.execute(query).scalar_one()))

    def heads(self, seqs: Iterable[int]) -> list[Fingerprint]:
        """Return fingerprints without their sketches, reading only the beginning of each."""
        wanted = list(seqs)
        return [Fingerprint.from_head(head) for head in self.read(lambda c: read_heads(c, wanted))]

    def first_without_border(self, space: Space, distance: str) -> int | None:
        """Return ``seq`` of the first fingerprint of a space whose border of a distance is not stored.

        Borders are stored in order of arrival, so it is the one after the last that has one.
        """
        table = schema.fingerprint.c
        border = sa.exists().where(schema.border.c.seq == table.seq, schema.border.c.distance == distance)
        here = sa.select(table.seq).where(table.space_id == space.space_id)
        last = sa.func.coalesce(here.where(border).order_by(table.seq.desc()).limit(1).scalar_subquery(), 0)
        row = self._first(here.where(table.seq > last).order_by(table.seq).limit(1))
        return None if row is None else int(row.seq)

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
        above = _floats(self._all(earlier)[0].from_earlier)
        below = {row.seq: row.value for row in self._all(later)}
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
        rows = self._all(query)
        return {r.seq: Border(_floats(r.to_earlier), _floats(r.from_earlier)) for r in rows}

    def outcomes(self) -> list[Outcome]:
        """Return the measured outcomes, ordered by scenario, metric, seed, source and target."""
        return self.read(outcome_table.read)

    def events(self) -> list[dict[str, Any]]:
        """Return what happened, oldest first."""
        entries = self.read(lambda connection: list(log_storage.entries(connection)))
        return [{"at": e.at, "kind": e.kind, "job": e.job_id, **e.detail} for e in entries]

    def shared_images(self) -> dict[str, list[str]]:
        """Return group → addresses of tasks that share images, as the latest run was configured with."""
        return dict(self._latest_summary().get("shared_images", {}))

    def listening(self) -> list[str]:
        """Return the addresses of tasks that released nothing in the latest run but ranked for themselves."""
        return list(self._latest_summary().get("listening", []))

    def _latest_summary(self) -> dict[str, Any]:
        row = self._first(_latest_run())
        return dict(json.loads(row.summary)) if row else {}

    def run_summary(self, job_id: str | None = None) -> dict[str, Any]:
        """Return the summary of a run, by default of the latest.

        Raises:
            UnknownNameError: If there is no such run.
        """
        query = _latest_run()
        if job_id is not None:
            query = query.where(schema.run.c.job_id == job_id)
        row = self._first(query)
        if row is None:
            raise UnknownNameError(f"catalogue {self.place} holds no finished run {job_id or ''}".rstrip())
        summary: dict[str, Any] = json.loads(row.summary)
        return {"job": row.job_id, "finished_at": row.finished_at, **summary}

    def _all(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        return self.read(lambda connection: connection.execute(query).all())

    def _first(self, query: sa.Select[Any]) -> sa.Row[Any] | None:
        return self.read(lambda connection: connection.execute(query).first())


def _latest_run() -> sa.Select[Any]:
    return sa.select(schema.run).order_by(schema.run.c.finished_at.desc()).limit(1)


def _floats(data: bytes) -> Values:
    return np.frombuffer(data, dtype=np.float64)
