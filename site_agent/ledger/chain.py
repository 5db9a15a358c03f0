"""Reading the ledger for use: every line follows from the one before, and the head vouches for the last one.

A signed head over a chain of hashes vouches for every line before it, so that only the line which it may lag
behind is checked by its own signature. ``verify`` checks them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from federation.errors import LedgerError, SignatureError
from site_agent.ledger.entry import FIRST_KINDS, NOTHING_BEFORE, Entry
from site_agent.ledger.head import Head
from site_agent.ledger.kept import has_released
from site_agent.ledger.spending import Outlay
from site_agent.ledger.storage import LedgerFiles

RESTORE = (
    "restore ledger.jsonl and ledger.head together from backup; if there is none, "
    "`fedprint site ledger restart` starts a new ledger that counts every budget as spent"
)


@dataclass(frozen=True)
class Chain:
    """A ledger that holds together.

    Args:
        entries: Its entries, oldest first.
        data: Their lines, as they are in the file.
        torn: Bytes after them that a crash left; nobody was ever told that they are charged.
        head_seq: The entry that the head vouches for, 0 without a head; the last one or the one before.
    """

    entries: tuple[Entry, ...] = ()
    data: bytes = b""
    torn: bytes = b""
    head_seq: int = 0
    outlays: tuple[Outlay, ...] = field(default=(), repr=False)

    @property
    def last_hash(self) -> str:
        """Hash of the last entry, zeros where there is none."""
        return self.entries[-1].hash if self.entries else NOTHING_BEFORE

    def followed_by(self, entry: Entry) -> "Chain":
        """Return the chain with an entry that was just written, and its head with it."""
        return Chain(
            (*self.entries, entry),
            self.data + entry.line + b"\n",
            head_seq=entry.seq,
            outlays=self.outlays + entry.outlays,
        )

    def charged(self, release_id: str) -> Entry | None:
        """Return the entry of a release, if it was charged."""
        charges = (entry for entry in self.entries if entry.charge is not None)
        return next((entry for entry in charges if entry.body["release_id"] == release_id), None)


def read_chain(files: LedgerFiles, public_key: str, known: Chain | None = None) -> Chain:
    """Return the site's ledger, empty where none was begun.

    Args:
        files: Where it is.
        public_key: The site's key, 64 hexadecimal digits.
        known: What was read before, which is not checked again.

    Raises:
        LedgerError: If it is missing or damaged, or not a continuation of what is known.
    """
    # The head is read first: what it vouches for must then be in the file.
    head_data, data = files.read_head(), files.read()
    known = known or Chain()
    if not data.startswith(known.data):
        raise LedgerError(f"{files.ledger} no longer holds what it held before", remedy=RESTORE)
    head = Head.parse(head_data, public_key) if head_data else Head(0, NOTHING_BEFORE)
    lines, torn = split(data[len(known.data) :], head.seq - len(known.entries))
    chain = _extend(known, lines, files)
    if torn and len(chain.entries) < head.seq:
        raise _damage(files, len(chain.entries) + 1, "is incomplete")
    _check_beginning(chain, head, files)
    _check_head(chain, head, public_key, files)
    return Chain(chain.entries, chain.data, torn, head.seq, chain.outlays)


def split(data: bytes, n_vouched: int) -> tuple[list[bytes], bytes]:
    """Return the complete lines of some bytes and what a crash left after them.

    Args:
        data: The bytes.
        n_vouched: So many lines were complete once; what became of them is damage, not a crash.
    """
    *lines, torn = data.split(b"\n")
    if not torn and len(lines) > max(n_vouched, 0) and not _readable(lines[-1]):
        return lines[:-1], lines[-1] + b"\n"
    return lines, torn


def _readable(line: bytes) -> bool:
    # A crash can leave a line at its full length without all of its content.
    return line.startswith(b"{") and line.endswith(b"}") and b"\0" not in line


def _extend(known: Chain, lines: Sequence[bytes], files: LedgerFiles) -> Chain:
    entries = list(known.entries)
    previous = known.last_hash
    for seq, line in enumerate(lines, len(entries) + 1):
        entry = _parsed(line, seq, files)
        kind_fits = (seq == 1) == (entry.kind in FIRST_KINDS)
        if entry.seq != seq or entry.previous != previous or not kind_fits:
            raise _damage(files, seq, "does not follow from the line before")
        entries.append(entry)
        previous = entry.hash
    new = entries[len(known.entries) :]
    outlays = tuple(outlay for entry in new for outlay in entry.outlays)
    data = known.data + b"".join(entry.line + b"\n" for entry in new)
    return Chain(tuple(entries), data, outlays=known.outlays + outlays)


def _parsed(line: bytes, seq: int, files: LedgerFiles) -> Entry:
    try:
        return Entry.parse(line)
    except ValueError as error:
        raise _damage(files, seq, "is no entry of this version") from error


def _check_beginning(chain: Chain, head: Head, files: LedgerFiles) -> None:
    """Only a site that never released with noise may have no ledger, or one that no head vouches for."""
    if head.seq and chain.entries:
        return
    missing = files.head if chain.entries else files.ledger
    if head.seq or has_released(files):
        raise LedgerError(f"{missing} is missing or empty, but this site has released before", remedy=RESTORE)


def _check_head(chain: Chain, head: Head, public_key: str, files: LedgerFiles) -> None:
    """A crash can leave one entry that the head does not know yet, never more and never fewer."""
    n = len(chain.entries)
    if head.seq > n:
        raise LedgerError(f"{files.ledger} ends at entry {n}, but had {head.seq}", remedy=RESTORE)
    if head.seq < n - 1:
        raise LedgerError(
            f"{files.head} vouches for {head.seq} of {n} entries; at most the last one may be missing",
            remedy=RESTORE,
        )
    if head.seq and chain.entries[head.seq - 1].hash != head.hash:
        raise _damage(
            files, head.seq, "is not the one that the head vouches for, or a line before it was changed"
        )
    for entry in chain.entries[head.seq :]:
        try:
            entry.check_signature(public_key)
        except (SignatureError, ValueError) as error:
            raise _damage(files, entry.seq, "does not carry the site's signature") from error


def _damage(files: LedgerFiles, line: int, what: str) -> LedgerError:
    return LedgerError(f"{files.ledger}: line {line} {what}", remedy=RESTORE)
