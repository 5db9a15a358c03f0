"""Release with noise: bounded patients, noise, ledger, signature, in an order that a crash cannot cheat.

The noisy fingerprint is put aside, durably, before it is charged. Once it is charged everything after can be
repeated: the signature of the same bytes is the same, and files are replaced as a whole. So a site that dies
at any point charges a release once, sends nothing that is not charged, and after its restart finishes the
noise that was charged rather than drawing it anew. What was not charged is forgotten: nobody has seen it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from federation.canonical import canonical_json, sha256_hex
from federation.errors import PolicyError
from federation.fingerprint import Fingerprint
from federation.identity import Identity
from federation.privacy.accounting import eps_of
from federation.privacy.mechanism import Noised, add_noise
from federation.privacy.statement import DISCRETE_GAUSSIAN, NEIGHBOURS, PrivacyStatement
from federation.sketches import Sketch
from federation.space import Space
from federation.trust import TrustMode
from site_agent.admissions import Admissions
from site_agent.data import ImageSource
from site_agent.extraction import Sketched
from site_agent.ledger.book import Ledger
from site_agent.ledger.budget import Charge
from site_agent.ledger.entry import Entry
from site_agent.pending import Pending, ReleaseFiles, Standing
from site_agent.policy import TaskPolicy
from site_agent.release import Candidate
from site_agent.state import SiteState

Sketching = Callable[[ImageSource], Sketched]
"""Bounds the patients of a source and sketches them."""
Describing = Callable[[Sketched], Candidate]
"""Returns what would leave if it were exact."""


@dataclass(frozen=True)
class _Drawn:
    """Noise that was drawn for the patients of a source."""

    source: ImageSource
    exact: Sketched
    noised: Noised
    cohort: str | None


@dataclass(frozen=True)
class PrivateRelease:
    """A task that may leave with noise, and all that decides what leaves.

    Args:
        identity: The site's signing key.
        state: The site's durable memory.
        ledger: The site's privacy ledger.
        policy: What the policy says about the task.
        space: The space that is asked for.
        job_id: The job that asks.
        source: All images of the task.
        sketch: Bounds patients and sketches them.
        describe: Returns what would leave if it were exact.
    """

    identity: Identity
    state: SiteState
    ledger: Ledger
    policy: TaskPolicy
    space: Space
    job_id: str
    source: ImageSource
    sketch: Sketching
    describe: Describing

    def release(self) -> bytes:
        """Return the fingerprint that leaves, drawn once and charged once.

        What stands is sent again, whoever asks: drawing noise anew would let it be averaged away. What may
        happen when the data have changed is for the policy to say.

        Raises:
            BudgetError: If a budget does not allow a release that is needed; nothing is charged.
            PolicyError: If the policy forbids it, or there are too few patients.
            StoreError: If a step cannot be made durable; nothing leaves, and asking again goes on there.
        """
        with self._files.alone():
            self._finish_what_was_charged()
            standing, refresh = self._files.standing(), self.policy.terms.refresh
            if standing is None or (standing.digest != self._digest and refresh == "whole"):
                return self._release_everybody()
            if standing.digest == self._digest or refresh == "never":
                return self._again(standing)
            return self._release_new_patients(standing)

    @property
    def _files(self) -> ReleaseFiles:
        return ReleaseFiles(self.state.folder, self.policy.name, self.space.space_id)

    @property
    def _admissions(self) -> Admissions:
        return Admissions(self.state.admissions, self.policy.name, self.space.space_id)

    @property
    def _digest(self) -> str:
        """Names the data, and the terms under which they are released."""
        terms = self.policy.terms
        parts = [self.source.digest(), str(terms.release_rho), terms.images_per_patient]
        return sha256_hex(canonical_json(parts))

    def _again(self, standing: Standing) -> bytes:
        """Answer this job with what stands, now and whenever the job is asked for again."""
        self.state.keep_release(self.job_id, self.policy.name, standing.fingerprint)
        return standing.fingerprint

    def _release_everybody(self) -> bytes:
        cohort = None
        if self.policy.terms.refresh == "new-patients":
            self._require_every_cohort(0)
            cohort = self._cohort(1)
        drawn = self._draw(self.source, cohort)
        return self._put_aside_and_finish(drawn, drawn.noised.sketches, self._statement(drawn))

    def _release_new_patients(self, standing: Standing) -> bytes:
        """Release the patients that no cohort holds yet; the sum is published. Too few of them must wait."""
        before = Fingerprint.from_bytes(standing.fingerprint)
        self._require_every_cohort(before.privacy.cohorts)
        newcomers = self._admissions.new_patients(self.source)
        if len(set(newcomers.patients or ())) < self.policy.terms.minimum_patients:
            return self._again(standing)
        cohort = self._cohort(before.privacy.cohorts + 1)
        drawn = self._draw(newcomers, cohort)
        own = self._statement(drawn)
        _require_same_terms(self.policy.name, before.privacy, own)
        total = {kind: known + drawn.noised.sketches[kind] for kind, known in before.sketches.items()}
        return self._put_aside_and_finish(drawn, total, _joined(before.privacy, own))

    def _require_every_cohort(self, n_cohorts: int) -> None:
        """Raise unless it is known who was released before: nobody may be counted twice."""
        known = set(self._admissions.cohorts)
        if known != {_name(number) for number in range(1, n_cohorts + 1)}:
            raise PolicyError(
                f"task {self.policy.name}: the standing release is of {n_cohorts} cohorts, but the patients "
                f"of {len(known)} are on record",
                remedy="restore the folder admissions from backup; if the release was made while refresh was "
                'something else, set refresh = "whole" to release everybody anew',
            )

    def _draw(self, source: ImageSource, cohort: str | None) -> _Drawn:
        """Sketch the patients and draw noise; a budget that is spent is found before any image is read."""
        terms = self.policy.terms
        self.ledger.check(self._charge("not yet drawn", cohort, terms.release_rho), self.policy.budgets())
        exact = self.sketch(source)
        self._require_enough(exact.n_patients)
        return _Drawn(source, exact, add_noise(exact.sketches, terms.release_rho, exact.weight), cohort)

    def _require_enough(self, n_patients: int) -> None:
        terms, task = self.policy.terms, self.policy.name
        if n_patients < terms.minimum_patients:
            raise PolicyError(
                f"task {task} has {n_patients} patients, the policy asks for {terms.minimum_patients}",
                remedy="release it when there are more, or let it listen",
            )
        delta = max(budget.delta for budget in self.policy.budgets())
        if delta * n_patients >= 1:
            raise PolicyError(
                f"task {task}: δ = {delta:g} is not below 1/{n_patients}, so it allows to publish somebody",
                remedy="choose a smaller δ in the policy",
            )

    def _statement(self, drawn: _Drawn) -> PrivacyStatement:
        terms, exact, noised = self.policy.terms, drawn.exact, drawn.noised
        return PrivacyStatement(
            mode=TrustMode.PRIVATE,
            mechanism=DISCRETE_GAUSSIAN,
            unit=exact.unit,
            neighbours=NEIGHBOURS,
            rho=str(noised.rho),
            eps=eps_of(noised.rho, terms.task.delta),
            delta=terms.task.delta,
            images_per_patient=terms.images_per_patient,
            weight=exact.weight,
            cohorts=1,
            edges=self.space.reference,
            noise=dict(noised.noise),
        )

    def _put_aside_and_finish(
        self, drawn: _Drawn, sketches: Mapping[str, Sketch], statement: PrivacyStatement
    ) -> bytes:
        """Make the noise durable, charge it, and let it stand."""
        fingerprint = self.describe(drawn.exact).private(self.identity.name, sketches, statement)
        charge = self._charge(fingerprint.fingerprint_id, drawn.cohort, drawn.noised.rho)
        tokens = frozenset() if drawn.cohort is None else self._admissions.tokens(drawn.source)
        pending = Pending(self._digest, charge, fingerprint, tokens)
        self._files.keep_pending(pending)
        return self._finish(pending, self.ledger.charge(charge, self.policy.budgets()))

    def _charge(self, release_id: str, cohort: str | None, rho: Fraction) -> Charge:
        terms = self.policy.terms
        return Charge(release_id, self.job_id, self.policy.name, terms.population.name, cohort, rho)

    def _cohort(self, number: int) -> str:
        return f"{self.space.space_id[:16]}/{_name(number)}"

    def _finish_what_was_charged(self) -> None:
        pending = self._files.pending()
        if pending is None:
            return
        entry = self.ledger.charged(pending.charge.release_id)
        if entry is None:
            self._files.drop_pending()
        else:
            self._finish(pending, entry)

    def _finish(self, pending: Pending, entry: Entry) -> bytes:
        """Sign what was charged and keep it; every step can be repeated."""
        charge, fingerprint = pending.charge, pending.fingerprint
        statement = replace(fingerprint.privacy, ledger_seq=entry.seq, ledger_hash=entry.hash)
        signed = replace(fingerprint, privacy=statement).signed_by(self.identity)
        encoded = signed.to_bytes()
        if charge.cohort is not None:
            self._admissions.remember(charge.cohort.rpartition("/")[2], pending.tokens)
        self.state.keep_release(charge.job_id, charge.task, encoded)
        self._files.keep_standing(Standing(pending.digest, encoded))
        self.state.record(
            "released", job=charge.job_id, task=charge.task, mode=TrustMode.PRIVATE.value,
            fingerprint=signed.fingerprint_id, rho=str(charge.rho), ledger=entry.seq,
        )  # fmt: skip
        self._files.drop_pending()
        return encoded


def _name(number: int) -> str:
    """Return the name of a cohort within its series."""
    return f"cohort-{number}"


def _require_same_terms(task: str, before: PrivacyStatement, now: PrivacyStatement) -> None:
    for name in ("unit", "images_per_patient", "weight", "delta"):
        if getattr(before, name) != getattr(now, name):
            raise PolicyError(
                f"task {task}: {name} was {getattr(before, name)} for the patients released before and is "
                f"{getattr(now, name)} now, so that their sum would mean nothing",
                remedy='restore it in the policy, or set refresh = "whole" to release everybody anew',
            )


def _joined(before: PrivacyStatement, now: PrivacyStatement) -> PrivacyStatement:
    """Return what holds for a sum over disjoint groups of patients: noise adds up, nobody pays twice."""
    dearer = max(before, now, key=lambda statement: Fraction(statement.rho))
    noise = {name: before.noise[name] + now.noise[name] for name in now.noise}
    return replace(dearer, cohorts=before.cohorts + 1, noise=noise)
