"""Entries of the log: one canonical encoding each, and which sites one is about."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from federation.canonical import canonical_json
from federation.errors import LogError

SCHEMA = 1
_KEYS = {"schema", "index", "at", "kind", "job", "detail"}
_NAMES, _LISTS, _ADDRESSES = ("site",), ("sites", "contributors"), ("task", "target")


@dataclass(frozen=True)
class Entry:
    """One thing that the aggregator did or was told.

    Args:
        index: Position in the log, from 0.
        at: Unix time in seconds.
        kind: What happened, such as ``"accepted"``.
        job_id: The job in which it did; empty outside of jobs.
        detail: What else is told; canonical JSON can hold it.
    """

    index: int
    at: float
    kind: str
    job_id: str
    detail: Mapping[str, Any]

    def leaf(self) -> bytes:
        """Return the one encoding of the entry, which the tree's leaf is the hash of."""
        told = {"index": self.index, "at": self.at, "kind": self.kind, "job": self.job_id}
        return canonical_json({"schema": SCHEMA, **told, "detail": self.detail})

    @classmethod
    def from_leaf(cls, leaf: bytes) -> "Entry":
        """Read an entry.

        Raises:
            LogError: If the bytes are no entry, or not its one encoding.
        """
        try:
            value = json.loads(leaf)
            entry = cls(
                int(value["index"]), value["at"], str(value["kind"]), str(value["job"]), dict(value["detail"])
            )
            whole = set(value) == _KEYS and value["schema"] == SCHEMA and entry.leaf() == leaf
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise LogError("an entry of the log is damaged", remedy="restore the log from a backup")
        return entry

    @property
    def sites(self) -> frozenset[str]:
        """The sites that the entry is about, and that are shown it."""
        return frozenset(_sites_in(self.detail))


def _sites_in(detail: Mapping[str, Any]) -> Iterator[str]:
    for key in _NAMES:
        if isinstance(detail.get(key), str) and detail[key]:
            yield detail[key]
    for key in _LISTS:
        named = detail.get(key)
        if isinstance(named, list | tuple):
            yield from (str(name) for name in named)
    for key in _ADDRESSES:
        address = detail.get(key)
        if isinstance(address, str) and "/" in address:
            yield address.split("/", 1)[0]
