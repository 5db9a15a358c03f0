"""From a charge to a release that stands, in steps that can all be repeated after a crash.

The signature of the same bytes is the same and files are replaced as a whole, so that a release which was
charged is finished with the noise that was charged, whenever and however often that is tried.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from federation.errors import StoreError
from federation.identity import Identity
from federation.trust import TrustMode
from site_agent.admissions import Admissions
from site_agent.events import RELEASED, SENT_AGAIN
from site_agent.ledger.book import Ledger
from site_agent.ledger.budget import Budget, Charge
from site_agent.ledger.entry import Entry
from site_agent.pending import Pending, ReleaseFiles, Standing
from site_agent.state import SiteState

SPACE = "space"
"""What a charge's mechanism calls the id of the space that was released in."""

ROUND = "round"
"""What it calls the round in which a cohort summed the release; a release of its own has none."""


@dataclass(frozen=True)
class Settlement:
    """The releases of one task in one space, and what paid for them.

    Args:
        identity: The site's signing key.
        state: The site's durable memory.
        ledger: The site's privacy ledger.
        task: The task.
        space_id: The space.
    """

    identity: Identity
    state: SiteState
    ledger: Ledger
    task: str
    space_id: str

    @property
    def files(self) -> ReleaseFiles:
        """What is pending and what stands."""
        return ReleaseFiles(self.state.folder, self.task, self.space_id)

    @property
    def admissions(self) -> Admissions:
        """Who is in the cohorts of what stands."""
        return Admissions(self.state.admissions, self.task, self.space_id)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from releasing the task in the space, after finishing what was charged before.

        What is pending without a charge is forgotten: nobody has seen it.

        Raises:
            LedgerError: If the ledger is missing or damaged.
            StoreError: If what is pending is damaged, or a step cannot be made durable.
        """
        with self.files.alone():
            pending = self.files.pending()
            entry = None if pending is None else self.ledger.charged(pending.charge.release_id)
            if pending is not None and entry is not None:
                self._finish(pending, entry)
            elif pending is not None:
                self.files.drop_pending()
            yield

    def settle(self, pending: Pending, budgets: tuple[Budget, ...]) -> bytes:
        """Put noise aside, charge it, let it stand, and return what leaves.

        Args:
            pending: The release.
            budgets: Every budget that it draws on.

        Raises:
            BudgetError: If a budget would be exceeded; nothing is charged.
            StoreError: If a step cannot be made durable; asking again goes on there.
        """
        self.files.keep_pending(pending)
        return self._finish(pending, self.ledger.charge(pending.charge, budgets))

    def send_again(self, job_id: str, encoded: bytes, ledger_seq: int | None) -> None:
        """Put on record that another job is answered with what was charged before.

        Args:
            job_id: The job.
            encoded: The signed fingerprint.
            ledger_seq: The entry that it names.

        Raises:
            StoreError: If that cannot be made durable.
        """
        self.state.keep_release(job_id, self.task, encoded)
        self.state.record(SENT_AGAIN, job=job_id, task=self.task, ledger=ledger_seq)

    def age(self, standing: Standing) -> float:
        """Return how many seconds ago what stands was paid for, or the ledger begun where that was before."""
        entries = self.ledger.entries()
        paid = next((entry for entry in entries if entry.hash == standing.ledger_hash), entries[0])
        return self.ledger.now() - paid.at

    def require_last_charged(self, standing: Standing | None) -> None:
        """Raise unless what stands is what was paid for last.

        Raises:
            StoreError: If the ledger knows of a later release, whose files are then lost.
        """
        last = self._last_charge()
        if last is not None and (standing is None or standing.ledger_hash != last.hash):
            raise StoreError(
                f"entry {last.seq} of the ledger paid for a release of task {self.task} that is no longer "
                "kept; nothing leaves",
                remedy='restore the site\'s state folder from backup; if there is none, refresh = "whole" '
                "releases everybody anew, and pays again",
            )

    def _last_charge(self) -> Entry | None:
        charges = ((entry, entry.charge) for entry in reversed(self.ledger.entries()))
        return next((entry for entry, charge in charges if charge is not None and self._is_own(charge)), None)

    def _is_own(self, charge: Charge) -> bool:
        """Return whether a charge paid for what stands or stood here, not for a part in a cohort's sum."""
        told = charge.mechanism
        return charge.task == self.task and told.get(SPACE) == self.space_id and ROUND not in told

    def _finish(self, pending: Pending, entry: Entry) -> bytes:
        """Sign what was charged and keep it."""
        charge, fingerprint = pending.charge, pending.fingerprint
        statement = replace(fingerprint.privacy, ledger_seq=entry.seq, ledger_hash=entry.hash)
        signed = replace(fingerprint, privacy=statement).signed_by(self.identity)
        encoded = signed.to_bytes()
        self._remember(pending)
        self.state.keep_release(charge.job_id, charge.task, encoded)
        self.files.keep_standing(Standing(charge.cohort, encoded))
        self.state.record(
            RELEASED, job=charge.job_id, task=charge.task, mode=TrustMode.PRIVATE.value,
            fingerprint=signed.fingerprint_id, rho=str(charge.rho), ledger=entry.seq,
        )  # fmt: skip
        self.files.drop_pending()
        return encoded

    def _remember(self, pending: Pending) -> None:
        cohort = (pending.charge.cohort or "").rpartition("/")[2]
        if pending.fingerprint.privacy.cohorts > 1:
            self.admissions.remember(cohort, pending.tokens)
        elif cohort:
            self.admissions.begin(cohort, pending.tokens)
