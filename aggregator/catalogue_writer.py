"""Writing into a catalogue."""

import time
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from aggregator import outcome_table, schema
from aggregator.catalogue_entries import Border
from aggregator.log import storage as log_storage
from aggregator.outcome_table import Imported
from aggregator.outcomes import Outcome
from aggregator.upsert import insert_new
from federation.canonical import canonical_json
from federation.fingerprint import Fingerprint
from federation.space import Space


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
        insert_new(self._connection, schema.border, [{"seq": seq, "distance": distance, **row}])

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
        """Write what was appended to the log; done once, last in the transaction."""
        log_storage.append(self._connection, self._happened)
        self._happened.clear()

    def finish_run(self, job_id: str, space: Space, summary: dict[str, Any]) -> None:
        """Record how a run ended; the same job run again replaces its summary."""
        self._connection.execute(sa.delete(schema.run).where(schema.run.c.job_id == job_id))
        row = {"job_id": job_id, "finished_at": time.time(), "space_id": space.space_id}
        self._connection.execute(sa.insert(schema.run).values(**row, summary=canonical_json(summary)))
