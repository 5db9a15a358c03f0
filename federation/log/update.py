"""What a site is told of the log: a head, why it follows from the last one, and entries about the site."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from federation.canonical import canonical_json
from federation.errors import FedprintError, LogContradictionError, LogError
from federation.log.entry import Entry
from federation.log.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    leaf_hash,
    verifies_consistency,
    verifies_inclusion,
)
from federation.log.tree_head import CoSignedHead, SignedHead

Proof = tuple[bytes, ...]


@dataclass(frozen=True)
class LoggedEntry:
    """An entry and the proof that it is in the log.

    Args:
        index: Its position.
        leaf: Its encoding.
        proof: Inclusion proof towards the head of the update.
    """

    index: int
    leaf: bytes
    proof: Proof

    @property
    def entry(self) -> Entry:
        """What it says.

        Raises:
            LogError: If it is damaged.
        """
        return Entry.from_leaf(self.leaf)


@dataclass(frozen=True)
class OthersHead:
    """The last head that another site co-signed.

    Args:
        head: The head.
        proof: Consistency proof from it to the head of the update.
    """

    head: CoSignedHead
    proof: Proof


@dataclass(frozen=True)
class LogUpdate:
    """What a site is told of the log.

    Args:
        signed: The head.
        since: Size of the head from which the proof of consistency leads here.
        proof: That proof.
        entries: All entries about the site from ``since`` on, in order.
        others: Heads that other sites co-signed, none larger than this one.
    """

    signed: SignedHead
    since: int
    proof: Proof
    entries: tuple[LoggedEntry, ...] = ()
    others: tuple[OthersHead, ...] = ()

    def verify(self, known: SignedHead | None) -> None:
        """Raise unless the update is whole and leads on from what is known.

        Args:
            known: The head of size ``since`` that is kept; None: nothing is, and ``since`` is 0.

        Raises:
            LogContradictionError: If what the aggregator signed does not follow from what it signed before.
            SignatureError: If the aggregator did not sign the head.
            LogError: If the update does not begin at what is known.
        """
        self.signed.verify()
        if self.since != (known.size if known else 0):
            raise LogError(f"an update of the log begins at {self.since}, not at what is known")
        self._verify_growth(known)
        for logged in self.entries:
            self._verify_entry(logged)
        for other in self.others:
            self.verify_other(other)

    def verify_other(self, other: OthersHead) -> None:
        """Raise unless what another site co-signed is a beginning of this log.

        Raises:
            LogContradictionError: If it is not: two sites are shown different logs.
            SignatureError: If a signature is wrong.
        """
        other.head.verify()
        theirs = other.head.signed
        if theirs.head.log_id != self.signed.head.log_id:
            raise LogError(f"site {other.head.site} co-signed a head of another log")
        if not _follows(theirs, self.signed, other.proof):
            raise LogContradictionError(
                f"site {other.head.site} co-signed a log of size {theirs.size} that is no beginning of "
                f"this one of size {self.signed.size}: different sites are shown different logs",
                remedy=f"compare heads with site {other.head.site} by phone (`fedprint site verify`)",
            )

    def _verify_growth(self, known: SignedHead | None) -> None:
        if known is not None and known.head.log_id != self.signed.head.log_id:
            raise LogError("an update of the log is one of another log")
        if known is not None and not _follows(known, self.signed, self.proof):
            raise LogContradictionError(
                f"the log of size {self.signed.size} does not begin with the log of size {known.size} that "
                "was shown before: entries were changed or removed",
                remedy=RESTORED,
            )

    def _verify_entry(self, logged: LoggedEntry) -> None:
        size, root = self.signed.size, self.signed.root
        entry = logged.entry
        listed = entry.index == logged.index and logged.index >= self.since
        proven = verifies_inclusion(leaf_hash(logged.leaf), logged.index, size, root, logged.proof)
        if not (listed and proven):
            raise LogContradictionError(
                f"entry {logged.index} ({entry.kind}) is not in the log of size {size} as was said",
                remedy=RESTORED,
            )

    def to_bytes(self) -> bytes:
        """Return the one encoding of the update."""
        return canonical_json(
            {
                "signed": self.signed.to_json(),
                "since": self.since,
                "proof": proof_to_json(self.proof),
                "entries": [_entry_to_json(logged) for logged in self.entries],
                "others": [_other_to_json(other) for other in self.others],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "LogUpdate":
        """Read an update; ``verify`` says whether to believe it.

        Raises:
            LogError: If the bytes are none.
        """
        try:
            value = json.loads(data)
            return cls(
                SignedHead.from_json(value["signed"]),
                int(value["since"]),
                proof_from_json(value["proof"]),
                tuple(_entry_from_json(logged) for logged in value["entries"]),
                tuple(_other_from_json(other) for other in value["others"]),
            )
        except FedprintError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise LogError(f"an update of the log is malformed ({type(error).__name__})") from error


RESTORED = (
    "ask the aggregator's people by phone: a hub that was restored from an older backup looks like this, and "
    "must be restored from a newer one; so does a log that somebody rewrote. Until somebody here has run "
    '`fedprint site verify SITE.toml --accept "WHY"`, this site answers that aggregator no more'
)
"""What to do about a log that contradicts what was shown before."""


def proof_to_json(proof: Iterable[bytes]) -> list[str]:
    """Return a proof as JSON can hold it."""
    return [each.hex() for each in proof]


def proof_from_json(value: Iterable[Any]) -> Proof:
    """Read a proof.

    Raises:
        ValueError: If it holds what is no hash.
        TypeError: If it holds what is no text.
    """
    proof = tuple(bytes.fromhex(each) for each in value)
    if any(len(each) != HASH_BYTES for each in proof):
        raise ValueError("a proof holds what is no hash")
    return proof


def _follows(old: SignedHead, new: SignedHead, proof: Proof) -> bool:
    if old.size == 0:
        return old.root == EMPTY_ROOT
    return verifies_consistency(old.size, new.size, old.root, new.root, proof)


def _entry_to_json(logged: LoggedEntry) -> dict[str, Any]:
    return {"index": logged.index, "leaf": logged.leaf.decode(), "proof": proof_to_json(logged.proof)}


def _entry_from_json(value: Mapping[str, Any]) -> LoggedEntry:
    return LoggedEntry(int(value["index"]), str(value["leaf"]).encode(), proof_from_json(value["proof"]))


def _other_to_json(other: OthersHead) -> dict[str, Any]:
    return {"head": other.head.to_json(), "proof": proof_to_json(other.proof)}


def _other_from_json(value: Mapping[str, Any]) -> OthersHead:
    return OthersHead(CoSignedHead.from_json(value["head"]), proof_from_json(value["proof"]))
