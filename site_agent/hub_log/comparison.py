"""Comparing what two sites were shown, without the aggregator."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from federation.canonical import canonical_json
from federation.errors import FedprintError, LogError
from federation.files import read_file
from federation.log.merkle import verifies_consistency
from federation.log.tree_head import CoSignedHead, SignedHead
from federation.log.update import OthersHead, Proof, proof_from_json, proof_to_json
from site_agent.hub_log.copy import KeptUpdate

_SCHEMA = 1


class Verdict(StrEnum):
    """What a comparison found."""

    SAME = "same"
    SPLIT = "split view"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Link:
    """A head that a site co-signed, and why it follows from the one before.

    Args:
        head: The head.
        since: Size of the one before; 0: there was none.
        proof: Consistency proof from there.
        others: What other sites had co-signed when it was shown, with proofs towards it.
    """

    head: CoSignedHead
    since: int
    proof: Proof
    others: tuple[OthersHead, ...] = ()

    @property
    def signed(self) -> SignedHead:
        """The head without the site's signature."""
        return self.head.signed


@dataclass(frozen=True)
class Exported:
    """The heads that a site was shown, as it gives them to another one; no entry is among them.

    Args:
        links: The heads, smallest first.
    """

    links: tuple[Link, ...]

    @classmethod
    def of(cls, updates: list[KeptUpdate], site: str, key: str) -> "Exported":
        """Return what a site's copy exports."""
        return cls(
            tuple(
                Link(kept.cosigned(site, key), kept.update.since, kept.update.proof, kept.update.others)
                for kept in updates
            )
        )

    @property
    def sizes(self) -> dict[int, SignedHead]:
        """Size → head."""
        return {link.signed.size: link.signed for link in self.links}

    @property
    def last(self) -> SignedHead:
        """The largest head."""
        return self.links[-1].signed

    def proofs(self, old: SignedHead) -> Iterator[tuple[SignedHead, Proof]]:
        """Yield a head and a proof that it follows from a smaller one of another site."""
        for link in self.links:
            for other in link.others:
                if (other.head.signed.size, other.head.signed.root) == (old.size, old.root):
                    yield link.signed, other.proof

    def to_bytes(self) -> bytes:
        """Return the content of its file."""
        links = [
            {"head": link.head.to_json(), "since": link.since, "proof": proof_to_json(link.proof)}
            | {"others": [{"head": o.head.to_json(), "proof": proof_to_json(o.proof)} for o in link.others]}
            for link in self.links
        ]
        return canonical_json({"schema": _SCHEMA, "heads": links})

    @classmethod
    def read(cls, path: Path) -> "Exported":
        """Read a file and verify that its heads are signed and follow from each other.

        Raises:
            LogError: If it is no whole export.
            StoreError: If it cannot be read.
        """
        try:
            value = json.loads(read_file(path, "export of another site"))
            exported = cls(tuple(_link(each) for each in value["heads"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LogError(
                f"{path} is no export", remedy="`fedprint site verify --export` writes one"
            ) from error
        exported.verify(path)
        return exported

    def verify(self, path: Path) -> None:
        """Raise unless all heads are signed and follow from each other.

        Raises:
            LogError: If they do not, or there is none.
        """
        known: SignedHead | None = None
        for link in self.links:
            try:
                link.head.verify()
            except FedprintError as error:
                raise LogError(f"{path}: {error.problem}", remedy="ask that site to export again") from error
            if known is not None and not _follows(known, link.signed, link.proof):
                raise LogError(
                    f"{path}: the head of size {link.signed.size} does not follow from that of size "
                    f"{known.size}",
                    remedy="ask that site to run `fedprint site verify`",
                )
            known = link.signed
        if known is None:
            raise LogError(f"{path} holds no head", remedy="that site has witnessed nothing yet")


def compare(
    own: Exported, theirs: Exported, proof: tuple[int, int, Proof] | None = None
) -> tuple[Verdict, str]:
    """Return whether two sites were shown one log, and what to say about it.

    Args:
        own: What this site was shown.
        theirs: What the other one was shown.
        proof: Two sizes, and what the hub gives as a proof between them.
    """
    if own.last.head.log_id != theirs.last.head.log_id:
        return Verdict.UNDECIDED, "these are logs of different aggregators"
    for size in sorted(own.sizes.keys() & theirs.sizes.keys()):
        if own.sizes[size].root != theirs.sizes[size].root:
            return Verdict.SPLIT, f"SPLIT VIEW: the aggregator signed two different logs of size {size}"
    small, large = sorted((own, theirs), key=lambda each: each.last.size)
    if small.last.size in large.sizes:
        return Verdict.SAME, f"both sites were shown one log up to size {small.last.size}"
    return _between(small, large, proof)


def _between(small: Exported, large: Exported, proof: tuple[int, int, Proof] | None) -> tuple[Verdict, str]:
    """Judge heads of which no two have one size."""
    old = small.last
    if any(_follows(old, new, known) for new, known in large.proofs(old)):
        return Verdict.SAME, f"both sites were shown one log up to size {old.size}"
    new = next(head for size, head in sorted(large.sizes.items()) if size > old.size)
    if proof is not None and proof[:2] == (old.size, new.size):
        if _follows(old, new, proof[2]):
            return Verdict.SAME, f"both sites were shown one log up to size {old.size}"
        return Verdict.SPLIT, (
            f"SPLIT VIEW: the hub's proof does not lead from the log of size {old.size} that one site was "
            f"shown to that of size {new.size} that the other was"
        )
    return Verdict.UNDECIDED, (
        f"no head of one size is known to both; ask the aggregator's people for "
        f"`fedprint hub verify --prove {old.size} {new.size} > proof.json`, then give --proof proof.json"
    )


def read_proof(path: Path) -> tuple[int, int, Proof]:
    """Read what ``fedprint hub verify --prove`` printed.

    Raises:
        LogError: If it is none.
        StoreError: If it cannot be read.
    """
    try:
        value = json.loads(read_file(path, "proof"))
        return int(value["old"]), int(value["new"]), proof_from_json(value["proof"])
    except (KeyError, TypeError, ValueError) as error:
        raise LogError(
            f"{path} is no proof", remedy="`fedprint hub verify --prove OLD NEW` prints one"
        ) from error


def _follows(old: SignedHead, new: SignedHead, proof: Proof) -> bool:
    return verifies_consistency(old.size, new.size, old.root, new.root, proof)


def _link(value: dict[str, Any]) -> Link:
    others = tuple(
        OthersHead(CoSignedHead.from_json(each["head"]), proof_from_json(each["proof"]))
        for each in value["others"]
    )
    return Link(
        CoSignedHead.from_json(value["head"]), int(value["since"]), proof_from_json(value["proof"]), others
    )
