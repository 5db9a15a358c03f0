"""Writing and reading the log within a transaction of the catalogue.

An entry is written in the transaction of what it records: a crash leaves both, or neither.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from aggregator import schema
from aggregator.log.tree import StoredTree
from aggregator.upsert import insert_new
from federation.log.entry import Entry
from federation.log.merkle import leaf_hash

_event, _node, _size = schema.event, schema.log_node, schema.log_size
_ROW = 1


@dataclass(frozen=True)
class Happening:
    """Something that is to become an entry.

    Args:
        kind: What happened.
        job_id: The job in which it did; empty outside of jobs.
        detail: What else is told of it.
        at: Unix time in seconds.
    """

    kind: str
    job_id: str
    detail: Mapping[str, Any]
    at: float = field(default_factory=time.time)

    def as_entry(self, index: int) -> Entry:
        """Return the entry at a position."""
        return Entry(index, self.at, self.kind, self.job_id, self.detail)


def append(connection: sa.Connection, happenings: Iterable[Happening]) -> None:
    """Append entries.

    Do it last in a transaction: from then on others who append wait for its end.

    Args:
        connection: The transaction of what they record.
        happenings: What happened, in order.
    """
    entries = [each.as_entry(0) for each in happenings]
    if not entries:
        return
    first = _take(connection, len(entries))
    tree, rows = StoredTree(connection, first), []
    for index, entry in enumerate(entries, first):
        leaf = Entry(index, entry.at, entry.kind, entry.job_id, entry.detail).leaf()
        tree.append(leaf_hash(leaf))
        rows.append({"leaf_index": index, "kind": entry.kind, "job_id": entry.job_id, "leaf": leaf})
    connection.execute(sa.insert(_event), rows)
    connection.execute(sa.insert(_node), tree.new_nodes())


def size_of(connection: sa.Connection) -> int:
    """Return the number of entries."""
    size = connection.execute(sa.select(_size.c.size).where(_size.c.id == _ROW)).scalar()
    return int(size or 0)


def held_size(connection: sa.Connection) -> int:
    """Return the number of entries, which stays what it is until the end of the transaction."""
    return _take(connection, 0)


def entries(connection: sa.Connection, start: int = 0, end: int | None = None) -> Iterator[Entry]:
    """Return entries in order.

    Raises:
        LogError: If one is damaged.
    """
    for _, leaf in leaves(connection, start, end):
        yield Entry.from_leaf(leaf)


def leaves(connection: sa.Connection, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Return positions and encodings of entries in order."""
    query = sa.select(_event.c.leaf_index, _event.c.leaf).where(_event.c.leaf_index >= start)
    if end is not None:
        query = query.where(_event.c.leaf_index < end)
    for index, leaf in connection.execute(query.order_by(_event.c.leaf_index)):
        yield int(index), bytes(leaf)


def is_told(connection: sa.Connection, kind: str, job_id: str) -> bool:
    """Return whether the log has an entry of a kind about a job."""
    query = sa.select(_event.c.leaf_index).where(_event.c.kind == kind, _event.c.job_id == job_id).limit(1)
    return connection.execute(query).first() is not None


def _take(connection: sa.Connection, n: int) -> int:
    """Lock the counter until the end of the transaction, move it on, and return where it was."""
    moved = sa.update(_size).where(_size.c.id == _ROW).values(size=_size.c.size + n)
    if not connection.execute(moved).rowcount:
        # Of two writers that begin a log at once, one waits here for the other, and both move on.
        insert_new(connection, _size, [{"id": _ROW, "size": 0}])
        connection.execute(moved)
    return size_of(connection) - n
