"""Verifying the site's own copy of a log offline, against itself and against what left the site."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from federation.errors import FedprintError
from federation.identity import Identity
from federation.log.entry import Entry
from federation.log.merkle import EMPTY_ROOT
from federation.log.tree_head import SignedHead, log_id, short_form
from site_agent.hub_log.copy import KeptUpdate, LogCopy
from site_agent.hub_log.releases import releases_of

_SINCE = "; it was right when it came: its file was changed or damaged since, at this site"


@dataclass(frozen=True)
class VerifiedCopy:
    """What a look at a copy found.

    Args:
        log: Id of the log.
        size: Size of the last head.
        root: Its root, 32 bytes.
        n_heads: Number of heads that are kept.
        entries: The entries about the site.
        findings: What is wrong.
        notes: What is to be known besides.
    """

    log: str
    size: int
    root: bytes
    n_heads: int
    entries: tuple[Entry, ...]
    findings: tuple[str, ...]
    notes: tuple[str, ...]

    def described(self) -> list[str]:
        """Return the lines that people read."""
        return [
            f"log {self.log[:12]}: {self.n_heads} heads, {len(self.entries)} entries about this site",
            f"size {self.size}, root {short_form(self.root)}",
            *self.findings,
            *self.notes,
            f"{len(self.findings)} things are wrong" if self.findings else "the copy is whole",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the same for programs."""
        told = [
            {"index": e.index, "at": e.at, "kind": e.kind, "job": e.job_id, **e.detail} for e in self.entries
        ]
        return {
            "log": self.log,
            "size": self.size,
            "root": self.root.hex(),
            "heads": self.n_heads,
            "entries": told,
            "findings": list(self.findings),
            "notes": list(self.notes),
        }


def verify_copy(copy: LogCopy, site: Identity, events: Iterable[Mapping[str, Any]]) -> VerifiedCopy:
    """Verify every signature and proof of a copy, and look for what left the site in its entries.

    Args:
        copy: The copy.
        site: Who the site is.
        events: The site's own log.
    """
    findings: list[str] = []
    try:
        updates = copy.updates()
    except FedprintError as error:
        findings, updates = [error.problem], []
    findings += _chain(copy, updates, site)
    entries = [logged.entry for kept in updates for logged in _readable(kept)]
    untold, notes = _releases(events, updates, entries, site.name)
    findings += untold
    disputed = copy.contradiction()
    if disputed is not None:
        findings.append(f"a later head contradicts the copy: {disputed['problem']}")
    last = updates[-1].signed if updates else None
    size, root = (last.size, last.root) if last else (0, EMPTY_ROOT)
    return VerifiedCopy(
        copy.folder.name, size, root, len(updates), tuple(entries), tuple(findings), tuple(notes)
    )


def _chain(copy: LogCopy, updates: Iterable[KeptUpdate], site: Identity) -> Iterator[str]:
    known: SignedHead | None = None
    for kept in updates:
        what = f"the head of size {kept.signed.size}"
        try:
            kept.update.verify(known)
            kept.cosigned(site.name, site.public_key).verify()
        except FedprintError as error:
            yield f"{what}: {error.problem}{_SINCE}"
        if log_id(kept.signed.key) != copy.folder.name:
            yield f"{what} is one of another log"
        if known is not None and kept.signed.head.timestamp <= known.head.timestamp:
            yield f"{what} is no younger than that of size {known.size}"
        known = kept.signed


def _readable(kept: KeptUpdate) -> Iterator[Any]:
    for logged in kept.update.entries:
        try:
            Entry.from_leaf(logged.leaf)
        except FedprintError:  # told by the chain
            continue
        yield logged


def _releases(
    events: Iterable[Mapping[str, Any]], updates: Iterable[KeptUpdate], entries: list[Entry], site: str
) -> tuple[list[str], list[str]]:
    """Return what left and is missing in the log, and what no head can tell of yet."""
    witnessed = {kept.job_id: kept.at for kept in updates}
    missing, waiting = [], []
    for release in releases_of(events):
        if release.is_in(entries, site):
            continue
        if release.at <= witnessed.get(release.job_id, 0.0):
            missing.append(f"{release} left, and the log does not say what became of it")
        else:
            waiting.append(f"{release} left; no head was witnessed after that job yet")
    return missing, waiting
