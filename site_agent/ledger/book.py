"""The ledger in use: a charge is checked first, durable before it returns, and made once."""

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from federation.canonical import sha256_hex
from federation.errors import BudgetError, LedgerError, PolicyError, StoreError
from federation.files import write_atomically
from federation.identity import Identity
from site_agent.ledger.budget import Budget, Charge, Scope
from site_agent.ledger.chain import Chain, read_chain
from site_agent.ledger.entry import CHARGE, NOTHING_BEFORE, RESTART, START, Entry
from site_agent.ledger.head import Head
from site_agent.ledger.kept import private_releases
from site_agent.ledger.moments import moment
from site_agent.ledger.spending import fits, free_at, spent
from site_agent.ledger.storage import LedgerFiles
from site_agent.state import SiteState

CLOCK_TOLERANCE = 300.0
"""Seconds by which the clock may lie before the last entry."""

Clock = Callable[[], float]


class Ledger:
    """A site's privacy ledger, safe to use from several threads and processes at once."""

    def __init__(self, folder: Path, identity: Identity, clock: Clock) -> None:
        self._files = LedgerFiles(folder)
        self._identity = identity
        self._clock = clock
        self._chain = Chain()

    @classmethod
    def open(cls, folder: Path, identity: Identity, clock: Clock = time.time) -> "Ledger":
        """Return the ledger in a site's state folder; a site that never released with noise gets a new one.

        Args:
            folder: The site's state folder.
            identity: The site's signing key.
            clock: Returns the Unix time in seconds.

        Raises:
            LedgerError: If it is missing or damaged.
            StoreError: If it cannot be written.
        """
        ledger = cls(folder, identity, clock)
        with ledger._files.locked():
            ledger._catch_up()
            if not ledger._chain.entries:
                ledger._append(START, _beginning(identity))
        return ledger

    @classmethod
    def restart(
        cls,
        folder: Path,
        identity: Identity,
        budgets: Sequence[Budget],
        clock: Clock = time.time,
    ) -> "Ledger":
        """Replace a lost ledger by one that counts every budget as fully spent; keep a copy of the old one.

        Args:
            folder: The site's state folder.
            identity: The site's signing key.
            budgets: Every budget of the policy.
            clock: Returns the Unix time in seconds.

        Raises:
            StoreError: If a file cannot be written.
        """
        files = LedgerFiles(folder)
        with files.locked():
            body = _beginning(identity) | _all_spent(budgets) | _replaced(files)
            _set_aside(files)
            entry = Entry.sign(identity, 1, round(float(clock()), 3), NOTHING_BEFORE, RESTART, body)
            # Between these two the old head contradicts the new ledger, and nothing leaves.
            write_atomically(files.ledger, entry.line + b"\n")
            files.write_head(Head.of(entry).sign(identity))
            files.sync()
        return cls.open(folder, identity, clock)

    def charge(self, charge: Charge, budgets: Sequence[Budget]) -> Entry:
        """Spend budget for a release, durably, unless that was done before.

        Args:
            charge: What the release spends.
            budgets: Every budget that it draws on: its population's and its task's.

        Returns:
            The entry, also if the release was charged before.

        Raises:
            BudgetError: If a budget would be exceeded; nothing is charged.
            LedgerError: If the ledger is missing or damaged; nothing is charged.
            PolicyError: If the clock went backwards or the budgets are not those of the release.
            StoreError: If the entry cannot be made durable; asking again charges it once.
        """
        _check_concerned(charge, budgets)
        with self._files.locked():
            self._catch_up()
            found = self._chain.charged(charge.release_id)
            if found is not None:
                return _same(found, charge)
            now = self._now()
            for budget in budgets:
                self._check(charge, budget, now)
            return self._append(CHARGE, charge.to_json())

    def check(self, charge: Charge, budgets: Sequence[Budget]) -> None:
        """Raise unless a charge could be made now; arguments and errors as of ``charge``."""
        _check_concerned(charge, budgets)
        with self._files.locked():
            self._catch_up()
            for budget in budgets:
                self._check(charge, budget, self._now())

    def charged(self, release_id: str) -> Entry | None:
        """Return the entry of a release, if it was charged.

        Raises:
            LedgerError: If the ledger is missing or damaged.
        """
        with self._files.locked():
            self._catch_up()
            return self._chain.charged(release_id)

    def now(self) -> float:
        """Return the time by the ledger's clock."""
        return self._clock()

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, oldest first.

        Raises:
            LedgerError: If the ledger is missing or damaged.
        """
        with self._files.locked():
            self._catch_up()
            return self._chain.entries

    def spent(self, budget: Budget, now: float | None = None) -> Fraction:
        """Return the ρ of a budget that is spent.

        Args:
            budget: The budget.
            now: End of the rolling window in seconds; None: now.
        """
        with self._files.locked():
            self._catch_up()
            return spent(self._chain.outlays, budget, self._clock() if now is None else now)

    def remaining(self, budget: Budget, now: float | None = None) -> Fraction:
        """Return the ρ of a budget that is left, never below zero; arguments as of ``spent``."""
        return max(Fraction(0), budget.limit - self.spent(budget, now))

    def _now(self) -> float:
        now, last = round(float(self._clock()), 3), self._chain.entries[-1].at
        if not math.isfinite(now) or now < last - CLOCK_TOLERANCE:
            raise PolicyError(
                f"the clock says {moment(now)}, but the ledger's last entry is of {moment(last)}",
                remedy="set the clock; nothing leaves until then",
            )
        return max(now, last)

    def _check(self, charge: Charge, budget: Budget, now: float) -> None:
        outlays = self._chain.outlays
        if fits(outlays, budget, charge, now):
            return
        free = free_at(outlays, budget, charge, now)
        used = budget.describe(spent(outlays, budget, now))
        raise BudgetError(
            f"{budget}: {used} of {budget.describe(budget.limit)} is spent, "
            f"too much for a release of {budget.describe(charge.rho)}",
            remedy="this budget never has room for it; ask for less or change the policy"
            if free is None
            else f"there is room for it from {moment(free)} on",
        )

    def _catch_up(self) -> None:
        """Read what other processes added, and finish or undo what a crash interrupted."""
        self._chain = read_chain(self._files, self._identity.public_key, self._chain)
        chain = self._chain
        if chain.torn:
            self._files.truncate(len(chain.data))
            SiteState(self._files.folder).record("ledger-repaired", cut_bytes=len(chain.torn))
        if chain.head_seq < len(chain.entries):
            self._files.write_head(Head.of(chain.entries[-1]).sign(self._identity))
            self._files.sync()

    def _append(self, kind: str, body: Mapping[str, Any]) -> Entry:
        chain = self._chain
        at = self._now() if chain.entries else round(float(self._clock()), 3)
        entry = Entry.sign(self._identity, len(chain.entries) + 1, at, chain.last_hash, kind, body)
        head = Head.of(entry).sign(self._identity)
        self._files.append(entry.line + b"\n")
        try:
            self._files.write_head(head)
        except StoreError:
            # A head in place that may not outlive a power failure vouches for the line all the same.
            if self._files.read_head() != head:
                self._files.truncate(len(chain.data))
            raise
        self._chain = chain.followed_by(entry)
        self._files.sync()
        return entry


def _check_concerned(charge: Charge, budgets: Sequence[Budget]) -> None:
    if {b.scope for b in budgets} != set(Scope) or not all(charge.concerns(b) for b in budgets):
        named = ", ".join(map(str, budgets)) or "none"
        raise PolicyError(
            f"task {charge.task} of population {charge.population} cannot be charged to: {named}",
            remedy="charge the budgets that the policy gives the task",
        )


def _same(found: Entry, charge: Charge) -> Entry:
    if dict(found.body) != charge.to_json():
        raise LedgerError(
            f"release {charge.release_id} was charged in entry {found.seq} with other content",
            remedy="give every release its own id",
        )
    return found


def _beginning(identity: Identity) -> dict[str, Any]:
    return {"site": identity.name, "public_key": identity.public_key, "ledger": secrets.token_hex(16)}


def _all_spent(budgets: Sequence[Budget]) -> dict[str, Any]:
    emptied = [{"scope": b.scope.value, "name": b.name, "rho": str(b.limit)} for b in budgets]
    return {"budgets": emptied}


def _replaced(files: LedgerFiles) -> dict[str, Any]:
    """The kept releases cannot be in the new ledger; it remembers that they came before it."""
    kept = sorted(sha256_hex(path.read_bytes()) for path in private_releases(files))
    return {"replaced": sha256_hex(files.read()), "releases_before": kept}


def _set_aside(files: LedgerFiles) -> None:
    for path in (files.ledger, files.head):
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            write_atomically(path.with_name(f"{path.name}.before-{sha256_hex(content)[:12]}"), content)
