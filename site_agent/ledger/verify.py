"""Checking a ledger offline, line by line, and against what the site and others hold of its releases."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from federation.canonical import sha256_hex
from federation.errors import FingerprintError, LedgerError, SignatureError
from federation.files import read_file
from federation.fingerprint import Fingerprint
from site_agent.ledger.entry import FIRST_KINDS, NOTHING_BEFORE, RESTART, Entry
from site_agent.ledger.head import Head
from site_agent.ledger.kept import private_releases
from site_agent.ledger.storage import LedgerFiles
from site_agent.rounds.payment import Payment, payments
from site_agent.transfer.payment import PAYMENT_FILE, model_payments


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Args:
        line: The line of the ledger it is about; None: the ledger as a whole or another file.
        problem: What is wrong.
    """

    line: int | None
    problem: str

    def __str__(self) -> str:
        return self.problem if self.line is None else f"line {self.line}: {self.problem}"


@dataclass(frozen=True)
class Verification:
    """What was found.

    Args:
        n_entries: Lines that are entries.
        n_releases: Releases, paid rounds and paid models that were looked up in the ledger.
        findings: What is wrong, in the order of the lines.
        notes: What is unusual but can happen to an honest site.
    """

    n_entries: int
    n_releases: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the verification as JSON can hold it."""
        return {
            "ok": not self.findings,
            "entries": self.n_entries,
            "releases": self.n_releases,
            "findings": [asdict(finding) for finding in self.findings],
            "notes": list(self.notes),
        }


def verify_ledger(files: LedgerFiles, public_key: str, fingerprints: Sequence[Path] = ()) -> Verification:
    """Check a ledger, its head, the site's kept releases and fingerprints that others hold.

    Args:
        files: The ledger.
        public_key: The site's key, 64 hexadecimal digits.
        fingerprints: Files of fingerprints of this site.

    Raises:
        StoreError: If a file cannot be read.
    """
    # Before the ledger, which then knows of every one of them.
    paid = (*payments(files.folder), *model_payments(files.folder))
    head_data, data = files.read_head(), files.read()
    lines = data.split(b"\n")
    rest = lines.pop()
    entries = [_entry(line) for line in lines]
    findings = [*_line_findings(entries, public_key), *_rest_findings(rest, len(lines))]
    kept = private_releases(files)
    findings += _head_findings(head_data, entries, public_key, released=bool(kept or paid))
    claims = [(path, read_file(path, "fingerprint")) for path in (*kept, *fingerprints)]
    before = _releases_before(entries)
    in_ledger = [(path, content) for path, content in claims if sha256_hex(content) not in before]
    findings += [
        finding for path, content in in_ledger for finding in _claim(path, content, entries, public_key)
    ]
    in_time = [(path, payment) for path, payment in paid if not _is_before(payment, entries)]
    findings += [finding for path, payment in in_time for finding in _paid(path, payment, entries)]
    n_known = sum(entry is not None for entry in entries)
    n_claims = len(claims) + len(paid)
    notes = _notes(entries, n_before=n_claims - len(in_ledger) - len(in_time))
    return Verification(n_known, n_claims, tuple(findings), tuple(notes))


def _entry(line: bytes) -> Entry | None:
    try:
        return Entry.parse(line)
    except ValueError:
        return None


def _line_findings(entries: Sequence[Entry | None], key: str) -> Iterator[Finding]:
    previous: Entry | None = None
    for number, entry in enumerate(entries, 1):
        if entry is None:
            yield Finding(number, "is no entry: it was changed or damaged")
            continue
        yield from (Finding(number, problem) for problem in _problems(number, entry, previous, entries, key))
        previous = entry


def _problems(
    number: int, entry: Entry, previous: Entry | None, entries: Sequence[Entry | None], key: str
) -> Iterator[str]:
    try:
        entry.check_signature(key)
    except (SignatureError, ValueError):
        yield "was changed: it does not carry the site's signature"
    if entry.seq != number:
        yield f"holds entry {entry.seq}: entries are missing, added, repeated or out of order"
    before = entries[number - 2] if number > 1 else None
    expected = before.hash if before is not None else NOTHING_BEFORE
    if entry.previous != expected:
        yield "does not follow from the line before it"
    if (number == 1) != (entry.kind in FIRST_KINDS):
        yield f"is an entry of kind {entry.kind!r}, which has no place here"
    if previous is not None and entry.at < previous.at:
        yield "is older than the line before it"


def _rest_findings(rest: bytes, n_lines: int) -> Iterator[Finding]:
    if rest:
        yield Finding(n_lines + 1, "is incomplete: a crash or somebody cut it short")


def _head_findings(
    head_data: bytes, entries: Sequence[Entry | None], key: str, *, released: bool
) -> Iterator[Finding]:
    n = len(entries)
    if not head_data:
        if n > 1 or released:
            yield Finding(None, "ledger.head is missing: entries may have been cut off the end")
        return
    try:
        head = Head.parse(head_data, key)
    except LedgerError as error:
        yield Finding(None, error.problem)
        return
    if head.seq > n:
        yield Finding(n + 1, f"entries {n + 1} to {head.seq} were cut off the end")
    elif head.seq < n - 1:
        yield Finding(head.seq + 1, f"the head vouches for {head.seq} entries only")
    elif head.seq and ((last := entries[head.seq - 1]) is None or last.hash != head.hash):
        yield Finding(head.seq, "is not the entry that the head vouches for")


def _releases_before(entries: Sequence[Entry | None]) -> frozenset[str]:
    first = entries[0] if entries else None
    if first is None or first.kind != RESTART:
        return frozenset()
    remembered = first.body.get("releases_before")
    return frozenset(map(str, remembered)) if isinstance(remembered, list) else frozenset()


def _notes(entries: Sequence[Entry | None], n_before: int) -> Iterator[str]:
    if not entries:
        yield "the ledger is empty: nothing was released with noise"
    elif (first := entries[0]) is not None and first.kind == RESTART:
        yield "this ledger replaced an earlier one; it counts every budget as spent then"
    if n_before:
        yield f"{n_before} releases are older than this ledger, which remembers them"


def _claim(path: Path, content: bytes, entries: Sequence[Entry | None], key: str) -> Iterator[Finding]:
    """A fingerprint with noise names the entry that paid for it."""
    try:
        fingerprint = Fingerprint.from_bytes(content)
        fingerprint.verify(key)
    except (FingerprintError, SignatureError) as error:
        yield Finding(None, f"{path}: {error.problem}")
        return
    if fingerprint.privacy.is_exact:
        return
    seq = fingerprint.privacy.ledger_seq
    entry = entries[seq - 1] if seq is not None and 1 <= seq <= len(entries) else None
    if entry is None or entry.hash != fingerprint.privacy.ledger_hash:
        yield Finding(seq, f"{path} names an entry that is not in this ledger")
    elif (problem := _mismatch(entry, fingerprint)) is not None:
        yield Finding(seq, f"{path} names this entry, {problem}")


def _is_before(payment: Payment | None, entries: Sequence[Entry | None]) -> bool:
    """Return whether a ledger paid that this one replaced."""
    first = entries[0] if entries else None
    restarted = first is not None and first.kind == RESTART
    return payment is not None and first is not None and restarted and payment.at <= first.at


def _paid(path: Path, payment: Payment | None, entries: Sequence[Entry | None]) -> Iterator[Finding]:
    """A part in a cohort's sum, or a model, names the entry that paid for it."""
    what = "step" if path.name == PAYMENT_FILE else "round"
    if payment is None:
        yield Finding(None, f"{path} is damaged, so that nobody knows what paid for the {what}")
        return
    entry = entries[payment.seq - 1] if 1 <= payment.seq <= len(entries) else None
    charge = None if entry is None or entry.hash != payment.hash else entry.charge
    if charge is None:
        yield Finding(payment.seq, f"{path} names an entry that is not in this ledger")
    elif charge.mechanism.get(what) != path.parent.name or str(charge.rho) != payment.rho:
        yield Finding(payment.seq, f"{path} names this entry, which paid for something else")


def _mismatch(entry: Entry, fingerprint: Fingerprint) -> str | None:
    if entry.charge is None or entry.charge.task != fingerprint.card.task:
        return f"which is no charge of task {fingerprint.card.task}"
    # A sum over cohorts is paid for by several entries; it names the last one and states the dearest.
    rho, paid = Fraction(fingerprint.privacy.rho), entry.charge.rho
    if rho != paid if fingerprint.privacy.cohorts <= 1 else rho < paid:
        return f"but states ρ {rho} instead of {paid}"
    return None
