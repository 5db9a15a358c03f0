"""The beginnings of stored fingerprints: everything but their sketches, without reading these."""

import sqlite3
from collections.abc import Sequence
from io import BytesIO

import sqlalchemy as sa

from aggregator import schema
from federation.container import read_head

_FIRST = 4096
"""Bytes in which most beginnings end; the others are asked for again."""

_AT_ONCE = 1000

_fingerprint = schema.fingerprint.c


def read_heads(connection: sa.Connection, seqs: Sequence[int]) -> list[bytes]:
    """Return the beginning of every fingerprint, up to where its arrays start, in the order asked for."""
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        return [_from_file(driver, seq) for seq in seqs]
    parts = [seqs[k : k + _AT_ONCE] for k in range(0, len(seqs), _AT_ONCE)]
    return [head for part in parts for head in _from_server(connection, part)]


def _from_file(connection: sqlite3.Connection, seq: int) -> bytes:
    with connection.blobopen("fingerprint", "content", seq, readonly=True) as blob:
        return read_head(blob.read)


def _from_server(connection: sa.Connection, seqs: Sequence[int]) -> list[bytes]:
    begun = _beginnings(connection, seqs, _FIRST)
    longer = {seq: n for seq, start in begun.items() if (n := _length(start)) > _FIRST}
    for seq, n in longer.items():
        begun |= _beginnings(connection, [seq], n)
    return [read_head(BytesIO(begun[seq]).read) for seq in seqs]


def _beginnings(connection: sa.Connection, seqs: Sequence[int], n: int) -> dict[int, bytes]:
    start = sa.func.substr(_fingerprint.content, 1, n).label("start")
    query = sa.select(_fingerprint.seq, start).where(_fingerprint.seq.in_(seqs))
    return {row.seq: row.start for row in connection.execute(query)}


def _length(start: bytes) -> int:
    """Number of bytes of a beginning; its first eight say so."""
    return 8 + int.from_bytes(start[:8], "little")
