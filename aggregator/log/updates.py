"""What each site is told of the log."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

import sqlalchemy as sa

from aggregator.log import storage
from aggregator.log.tree import StoredTree
from federation.log.entry import Entry
from federation.log.tree_head import CoSignedHead, SignedHead
from federation.log.update import LoggedEntry, LogUpdate, OthersHead

_MANY = 16
"""Entries from which on all hashes are read at once."""


def updates(
    connection: sa.Connection,
    signed: SignedHead,
    since: Mapping[str, int],
    last: Mapping[str, CoSignedHead],
) -> dict[str, LogUpdate]:
    """Return site → what it is told.

    Args:
        connection: An open transaction.
        signed: The head that is shown to all of them.
        since: Site → size of the head that it keeps; none is larger than the new one.
        last: Site → the last head that it co-signed; those of all others are shown.

    Raises:
        LogError: If an entry or a hash is damaged.
    """
    about = _about(connection, signed.size, since)
    tree = StoredTree(connection, signed.size)
    if sum(map(len, about.values())) >= _MANY:
        tree.preload()
    fitting = _fitting(last, signed)
    shown = {site: OthersHead(head, tree.consistency(head.signed.size)) for site, head in fitting}
    return {
        site: LogUpdate(
            signed,
            start,
            tree.consistency(start),
            tuple(LoggedEntry(each.index, each.leaf(), tree.inclusion(each.index)) for each in about[site]),
            tuple(other for name, other in shown.items() if name != site),
        )
        for site, start in since.items()
    }


def _about(connection: sa.Connection, size: int, since: Mapping[str, int]) -> Mapping[str, Collection[Entry]]:
    """Return site → the entries about it that it was not shown."""
    about: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in storage.entries(connection, min(since.values(), default=0), size):
        for site in entry.sites & since.keys():
            if entry.index >= since[site]:
                about[site].append(entry)
    return about


def _fitting(last: Mapping[str, CoSignedHead], signed: SignedHead) -> Iterator[tuple[str, CoSignedHead]]:
    """Yield the heads that can be in this log; a larger one is of a job that ended meanwhile."""
    yield from ((site, head) for site, head in sorted(last.items()) if 0 < head.signed.size <= signed.size)
