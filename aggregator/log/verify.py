"""Verifying the stored log: every leaf, every hash of the tree, every head."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from aggregator import schema
from aggregator.log import heads, storage
from aggregator.log.tree import Place
from federation.errors import FedprintError
from federation.log import merkle
from federation.log.entry import Entry
from federation.log.tree_head import CoSignedHead, SignedHead

Head = TypeVar("Head", SignedHead, CoSignedHead)


@dataclass(frozen=True)
class Verified:
    """What a look at the whole log found.

    Args:
        size: Number of entries.
        root: Root of the tree over them, 32 bytes, computed from the entries alone.
        findings: What is wrong.
        entries: The entries that could be read.
        heads: The signed heads.
        witnesses: The heads that sites co-signed.
    """

    size: int
    root: bytes
    findings: tuple[str, ...]
    entries: tuple[Entry, ...]
    heads: tuple[SignedHead, ...]
    witnesses: tuple[CoSignedHead, ...]


def verify_log(connection: sa.Connection) -> Verified:
    """Compute everything anew from the entries, and compare it with what is stored.

    Args:
        connection: An open transaction.
    """
    rows = connection.execute(sa.select(schema.event).order_by(schema.event.c.leaf_index)).all()
    leaves = [stored_bytes(row.leaf) for row in rows]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    entries, findings = _entries(rows)
    known = _subtrees(hashes)
    subtree = _of(known)
    signed, signed_findings = _read(lambda: heads.signed_heads(connection), "a signed head")
    witnesses, witness_findings = _read(lambda: heads.cosigned_heads(connection), "a co-signed head")
    findings += [*_size(connection, len(rows)), *_nodes(connection, known)]
    findings += [*signed_findings, *_heads(signed, len(rows), subtree), *_moments(signed)]
    findings += [*witness_findings, *_witnesses(witnesses, len(rows), subtree)]
    root = subtree(0, len(rows)) if rows else merkle.EMPTY_ROOT
    return Verified(len(rows), root, tuple(findings), tuple(entries), tuple(signed), tuple(witnesses))


def stored_bytes(value: object) -> bytes:
    """Return the bytes of a column; nothing where somebody has put something else there."""
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


def _entries(rows: Iterable[sa.Row[tuple[object, ...]]]) -> tuple[list[Entry], list[str]]:
    entries, findings = [], []
    for index, row in enumerate(rows):
        try:
            entry = Entry.from_leaf(stored_bytes(row.leaf))
        except FedprintError:
            findings.append(f"entry {row.leaf_index} is damaged")
            continue
        entries.append(entry)
        if not index == row.leaf_index == entry.index:
            findings.append(f"entry {entry.index} is stored as number {row.leaf_index}, expected {index}")
        if (row.kind, row.job_id) != (entry.kind, entry.job_id):
            findings.append(f"entry {entry.index}: kind or job beside it are not its own")
    return entries, findings


def _subtrees(hashes: list[bytes]) -> dict[Place, bytes]:
    """Return the roots of all complete subtrees."""
    known, level, row = {}, 0, hashes
    while row:
        known.update({(level, position): found for position, found in enumerate(row)})
        pairs = zip(row[::2], row[1::2], strict=False)
        level, row = level + 1, [merkle.node_hash(left, right) for left, right in pairs]
    return known


def _of(known: Mapping[Place, bytes]) -> merkle.Subtree:
    def subtree(start: int, end: int) -> bytes:
        n = end - start
        if n & (n - 1) == 0:
            level = n.bit_length() - 1
            return known[level, start >> level]
        middle = start + merkle.split(n)
        return merkle.node_hash(subtree(start, middle), subtree(middle, end))

    return subtree


def _size(connection: sa.Connection, found: int) -> Iterator[str]:
    stated = storage.size_of(connection)
    if stated != found:
        yield f"the log has {found} entries, and says that it has {stated}: some were removed or added"


def _nodes(connection: sa.Connection, known: Mapping[Place, bytes]) -> Iterator[str]:
    stored = {
        (row.level, row.position): stored_bytes(row.hash)
        for row in connection.execute(sa.select(schema.log_node))
    }
    for place in sorted(known.keys() | stored.keys()):
        if known.get(place) != stored.get(place):
            what = "missing" if place not in stored else "left over" if place not in known else "wrong"
            yield f"the hash at level {place[0]}, position {place[1]} of the tree is {what}"


def _heads(signed: Iterable[SignedHead], size: int, subtree: merkle.Subtree) -> Iterator[str]:
    for each in signed:
        yield from _judged(each, each.verify, f"the signed head of size {each.size}", size, subtree)


def _witnesses(heads: Iterable[CoSignedHead], size: int, subtree: merkle.Subtree) -> Iterator[str]:
    for each in heads:
        what = f"the head of size {each.signed.size} that site {each.site} co-signed"
        yield from _judged(each.signed, each.verify, what, size, subtree)


def _judged(
    signed: SignedHead, verify: Callable[[], None], what: str, size: int, subtree: merkle.Subtree
) -> Iterator[str]:
    try:
        verify()
    except FedprintError as error:
        yield f"{what}: {error.problem}"
    if signed.size > size:
        yield f"{what} is larger than the log of {size} entries: entries were removed"
    elif signed.root != (subtree(0, signed.size) if signed.size else merkle.EMPTY_ROOT):
        yield f"{what} has another root than the entries: they were changed"


def _moments(signed: Iterable[SignedHead]) -> Iterator[str]:
    last: dict[str, SignedHead] = {}
    for each in signed:
        before = last.get(each.head.log_id)
        if before is not None and each.head.timestamp <= before.head.timestamp:
            yield f"the head of size {each.size} is no younger than that of size {before.size}"
        last[each.head.log_id] = each


def _read(read: Callable[[], list[Head]], what: str) -> tuple[list[Head], list[str]]:
    try:
        return read(), []
    except FedprintError as error:
        return [], [f"{what} is damaged: {error.problem}"]
