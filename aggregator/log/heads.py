"""Heads of the log: signed by the aggregator, co-signed by sites."""

import json
import time
from collections.abc import Iterable

import sqlalchemy as sa

from aggregator import schema
from aggregator.log import storage
from aggregator.log.tree import StoredTree
from federation.canonical import canonical_json
from federation.errors import LogError
from federation.identity import Identity
from federation.log.tree_head import CoSignedHead, SignedHead, log_id

_head, _witness = schema.log_head, schema.log_witness


def sign_head(connection: sa.Connection, aggregator: Identity) -> SignedHead:
    """Return the signed head of the log as it is now; one that was signed at this size already stands.

    Later heads are larger and have larger timestamps, so that a smaller one that was signed later proves that
    entries were removed.

    Args:
        connection: An open transaction; until its end nobody else appends.
        aggregator: Whose log it is.
    """
    size = storage.held_size(connection)
    heads = {signed.size: signed for signed in signed_heads(connection, log_id(aggregator.public_key))}
    if size in heads:
        return heads[size]
    latest = max((signed.head.timestamp for signed in heads.values()), default=0)
    timestamp = max(round(time.time() * 1000), latest + 1)
    signed = SignedHead.sign(aggregator, size, StoredTree(connection, size).root(), timestamp)
    row = {"log_id": signed.head.log_id, "size": size, "content": canonical_json(signed.to_json())}
    connection.execute(sa.insert(_head).values(row))
    return signed


def signed_heads(connection: sa.Connection, log: str | None = None) -> list[SignedHead]:
    """Return the signed heads, smallest first.

    Args:
        connection: An open transaction.
        log: Id of the log, None for those of every key that the aggregator ever had.

    Raises:
        LogError: If one is damaged.
    """
    query = sa.select(_head).order_by(_head.c.size)
    if log is not None:
        query = query.where(_head.c.log_id == log)
    found = []
    for row in connection.execute(query):
        signed = SignedHead.from_json(_parsed(row.content))
        _require_own_place((row.log_id, row.size), (signed.head.log_id, signed.size))
        found.append(signed)
    return found


def keep_witness(connection: sa.Connection, head: CoSignedHead) -> None:
    """Keep a head that a site co-signed."""
    known = sa.and_(_witness.c.site == head.site, _witness.c.size == head.signed.size)
    row = {"site": head.site, "size": head.signed.size, "at": time.time()}
    connection.execute(sa.delete(_witness).where(known))
    connection.execute(sa.insert(_witness).values(**row, content=canonical_json(head.to_json())))


def cosigned_heads(connection: sa.Connection) -> list[CoSignedHead]:
    """Return every head that a site co-signed, by site and size.

    Raises:
        LogError: If one is damaged.
    """
    found = []
    for row in connection.execute(sa.select(_witness).order_by(_witness.c.site, _witness.c.size)):
        head = CoSignedHead.from_json(_parsed(row.content))
        _require_own_place((row.site, row.size), (head.site, head.signed.size))
        found.append(head)
    return found


def last_of_each(heads: Iterable[CoSignedHead], log: str) -> dict[str, CoSignedHead]:
    """Return site → the largest head of a log that it co-signed."""
    own = [head for head in heads if head.signed.head.log_id == log]
    return {head.site: head for head in sorted(own, key=lambda head: head.signed.size)}


def _require_own_place(stored: tuple[str, int], own: tuple[str, int]) -> None:
    if stored != own:
        raise LogError(
            f"the head of {own[0][:12]} and size {own[1]} is stored as that of {stored[0][:12]} and size "
            f"{stored[1]}",
            remedy="restore the catalogue from a backup",
        )


def _parsed(content: bytes) -> dict[str, object]:
    try:
        value: dict[str, object] = json.loads(content)
    except (ValueError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}
