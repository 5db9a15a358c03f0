"""The tree of the stored log: roots of complete subtrees are kept, so that all takes O(log n) of them."""

from collections.abc import Iterator

import sqlalchemy as sa

from aggregator import schema
from federation.errors import LogError
from federation.log import merkle

_node = schema.log_node
Place = tuple[int, int]
"""Level (0: leaves) and position of the root of a complete subtree."""


class StoredTree:
    """The tree over the first entries of the log; what was read once is remembered.

    Args:
        connection: An open transaction.
        size: Number of entries that the tree is about.
    """

    def __init__(self, connection: sa.Connection, size: int) -> None:
        self.size = size
        self._connection = connection
        self._known: dict[Place, bytes] = {}
        self._new: dict[Place, bytes] = {}

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash; ``new_nodes`` are to be stored then."""
        place, found = (0, self.size), leaf
        self._put(place, found)
        while place[1] & 1:  # a right child completes its parent
            level, position = place
            found = merkle.node_hash(self.node(level, position - 1), found)
            place = (level + 1, position >> 1)
            self._put(place, found)
        self.size += 1

    def new_nodes(self) -> list[dict[str, object]]:
        """Return what was added, as rows of the table."""
        return [
            {"level": level, "position": position, "hash": found}
            for (level, position), found in self._new.items()
        ]

    def root(self) -> bytes:
        """Return the root.

        Raises:
            LogError: If a stored hash is missing.
        """
        return self.subtree(0, self.size) if self.size else merkle.EMPTY_ROOT

    def inclusion(self, index: int) -> tuple[bytes, ...]:
        """Return the proof that an entry is in the tree."""
        return tuple(merkle.inclusion_proof(index, self.size, self.subtree))

    def consistency(self, old: int) -> tuple[bytes, ...]:
        """Return the proof that the tree begins with that of the first ``old`` entries."""
        return tuple(merkle.consistency_proof(old, self.size, self.subtree))

    def subtree(self, start: int, end: int) -> bytes:
        """Return the root over a range of leaves that the tree has as a subtree."""
        n = end - start
        if n & (n - 1) == 0:
            level = n.bit_length() - 1
            return self.node(level, start >> level)
        middle = start + merkle.split(n)
        return merkle.node_hash(self.subtree(start, middle), self.subtree(middle, end))

    def node(self, level: int, position: int) -> bytes:
        """Return a stored hash.

        Raises:
            LogError: If it is missing.
        """
        place = (level, position)
        if place not in self._known:
            here = sa.and_(_node.c.level == level, _node.c.position == position)
            found = self._connection.execute(sa.select(_node.c.hash).where(here)).scalar()
            if found is None:
                raise LogError(
                    f"the log's tree holds no hash at level {level}, position {position}",
                    remedy="the catalogue is damaged: restore it from a backup",
                )
            self._known[place] = bytes(found)
        return self._known[place]

    def preload(self) -> None:
        """Read all hashes at once, for whoever needs many."""
        for level, position, found in self._connection.execute(sa.select(_node)):
            self._known[level, position] = bytes(found)

    def nodes(self) -> Iterator[tuple[Place, bytes]]:
        """Return what is known."""
        yield from self._known.items()

    def _put(self, place: Place, found: bytes) -> None:
        self._known[place] = self._new[place] = found
