"""Release with noise: bounded patients, noise, ledger, signature, in an order that a crash cannot cheat.

The noisy fingerprint is put aside, durably, before it is charged. Once it is charged everything after can be
repeated. So a site that dies at any point charges a release once, sends nothing that is not charged, and
after its restart finishes the noise that was charged rather than drawing it anew. What was not charged is
forgotten: nobody has seen it.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

from federation.errors import FedprintError, NotReleasableError, PolicyError, StoreError
from federation.fingerprint import Fingerprint
from federation.privacy.accounting import eps_of
from federation.privacy.mechanism import Noised, add_noise, planned_noise
from federation.privacy.statement import DISCRETE_GAUSSIAN, NEIGHBOURS, PrivacyStatement
from federation.privacy.weight import total_weight
from federation.sketches import CdfSketch, Sketch, zeros
from federation.space import Space
from federation.task_card import TaskCard
from federation.trust import TrustMode
from site_agent.data import ImageSource
from site_agent.ledger.budget import Charge
from site_agent.patients import Unit, is_known
from site_agent.pending import Pending, Standing
from site_agent.policy import TaskPolicy
from site_agent.release import noisy_fingerprint
from site_agent.settlement import SPACE, Settlement
from site_agent.sketch_work import Sketched, fisher_parameters

Sketching = Callable[[ImageSource], Sketched]
"""Bounds the patients of a source and sketches them."""

_PAY_AGAIN = 'refresh = "whole" releases everybody anew, and pays again; new patients can follow that'


@dataclass(frozen=True)
class _Group:
    """Patients who are released together.

    Args:
        source: Their images.
        cohort: What the ledger calls them, ``series/name``; None: nobody needs to know who they are.
        tokens: What they are remembered as; empty without a cohort.
    """

    source: ImageSource
    cohort: str | None = None
    tokens: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Drawn:
    """Noise that was drawn for a group."""

    group: _Group
    exact: Sketched
    noised: Noised


@dataclass(frozen=True)
class PrivateRelease:
    """A task that may leave with noise, and all that decides what leaves.

    Args:
        settlement: The task's releases in the space, and what paid for them.
        policy: What the policy says about the task.
        space: The space that is asked for.
        job_id: The job that asks.
        images: Lists all images of the task.
        card: What somebody at the site allowed to leave in words.
        sketch: Bounds patients and sketches them.
    """

    settlement: Settlement
    policy: TaskPolicy
    space: Space
    job_id: str
    images: Callable[[], ImageSource]
    card: TaskCard
    sketch: Sketching

    def release(self) -> bytes:
        """Return the fingerprint that leaves, drawn once and charged once.

        What stands is sent again, whoever asks: drawing noise anew would let it be averaged away. When
        something new leaves is for the policy and the clock to say, never for the data: whether they have
        changed, or how many patients are new, must not show.

        Raises:
            BudgetError: If a budget does not allow a release that is due; nothing is charged.
            NotReleasableError: If something about the data stands against it, such as too few patients.
            PolicyError: If the policy forbids it.
            StoreError: If a step cannot be made durable; nothing leaves, and asking again goes on there.
        """
        self._require_one_head()
        with self.settlement.alone():
            standing, refresh = self.settlement.files.standing(), self.policy.terms.refresh
            if standing is None:
                return self._release_everybody(standing)
            if refresh == "never" or not self._is_due(standing):
                return self._again(standing)
            if refresh == "whole":
                return self._release_everybody(standing)
            return self._release_new_patients(standing)

    def _require_one_head(self) -> None:
        """A head fitted to each cohort would make their sum mean nothing, and none to a cohort of nobody."""
        fisher = fisher_parameters(self.space)
        if self.policy.terms.refresh == "new-patients" and fisher is not None and fisher.head == "dp":
            raise PolicyError(
                f"task {self.policy.name}: cohorts do not add up where each has a Fisher head of its own",
                remedy='set refresh = "never" or "whole", or use a space whose Fisher head is "public"',
            )

    def _is_due(self, standing: Standing) -> bool:
        return self.settlement.age(standing) >= self.policy.terms.refresh_seconds

    def _again(self, standing: Standing) -> bytes:
        """Answer this job with what stands, now and whenever the job is asked for again.

        The words of its card are those that are approved now; they are not what noise protects.
        """
        known = standing.fingerprint
        card = replace(self.card, n_images=known.card.n_images)
        encoded = standing.encoded
        if card != known.card:
            encoded = replace(known, card=card).signed_by(self.settlement.identity).to_bytes()
            self.settlement.files.keep_standing(replace(standing, encoded=encoded))
        self.settlement.send_again(self.job_id, encoded, known.privacy.ledger_seq)
        return encoded

    def _release_everybody(self, standing: Standing | None) -> bytes:
        if self.policy.terms.refresh != "whole":
            self.settlement.require_last_charged(standing)
        drawn = self._draw(self._everybody())
        return self._settle(drawn, drawn.noised.sketches, self._statement(drawn))

    def _everybody(self) -> _Group:
        """Return all patients as the first cohort of a new series, where new patients could follow.

        Whoever is released anew pays for all series so far, so no series goes on and none shares its name.
        """
        refresh = self.policy.terms.refresh
        with data_of(self.policy.name):
            source = self.images()
            patients = source.patients or ()
            known = bool(patients) and all(map(is_known, patients))
            if refresh == "never" or (refresh == "whole" and not known):
                return _Group(source)
            series = f"{self.space.space_id[:16]}-{secrets.token_hex(4)}"
            return _Group(source, _cohort(series, 1), self.settlement.admissions.tokens(source))

    def _release_new_patients(self, standing: Standing) -> bytes:
        """Release the patients that no cohort holds yet, however few; the sum is published.

        A patient's cohort is the first that is cut while the patient is there: it depends on no other.
        """
        before = standing.fingerprint
        self.settlement.require_last_charged(standing)
        _require_same_levels(self.policy, before, self.space)
        series = self._series(standing)
        cohort = _cohort(series, before.privacy.cohorts + 1)
        with data_of(self.policy.name):
            source = self.settlement.admissions.new_patients(self.images())
            tokens = self.settlement.admissions.tokens(source)
        drawn = self._draw(_Group(source, cohort, tokens), before)
        own = self._statement(drawn)
        _require_same_terms(self.policy.name, before.privacy, own)
        total = {kind: known + drawn.noised.sketches[kind] for kind, known in before.sketches.items()}
        return self._settle(drawn, total, _joined(before.privacy, own))

    def _series(self, standing: Standing) -> str:
        """Return the series that goes on; it must be known who is in it, or somebody is counted twice."""
        task, n_cohorts = self.policy.name, standing.fingerprint.privacy.cohorts
        if standing.cohort is None:
            raise PolicyError(
                f"task {task}: it is not known which patients the standing release is about, since refresh "
                "was something else then",
                remedy=f'set refresh = "never" to keep it, or pay: {_PAY_AGAIN}',
            )
        known = set(self.settlement.admissions.cohorts)
        if known != {_name(number) for number in range(1, n_cohorts + 1)}:
            raise PolicyError(
                f"task {task}: the standing release is of {n_cohorts} cohorts, but the patients of "
                f"{len(known)} are on record",
                remedy=f"restore the folder admissions from backup; if there is none, {_PAY_AGAIN}",
            )
        return standing.cohort.rpartition("/")[0]

    def _draw(self, group: _Group, before: Fingerprint | None = None) -> _Drawn:
        """Sketch the patients and draw noise; what forbids it is found before any image is read."""
        terms = self.policy.terms
        budgets = self.policy.budgets()
        self.settlement.ledger.check(self._charge("not yet drawn", group, terms.release_rho), budgets)
        # Before any image is read: what depends on images afterwards must not tell of them by a refusal.
        planned_noise(zeros(self.space), terms.release_rho, total_weight(terms.images_per_patient))
        with data_of(self.policy.name):
            nobody = before is not None and not len(group.source)
            exact = self._of_nobody(before) if before and nobody else self.sketch(group.source)
            if before is None:
                self.policy.require_enough(exact.n_patients)
            noised = add_noise(exact.sketches, terms.release_rho, exact.weight, spent=exact.spent)
        return _Drawn(group, exact, noised)

    def _of_nobody(self, before: Fingerprint) -> Sketched:
        """Return sketches of no image, like those that were released before."""
        empty = {kind: sketch.bind(self.space).emptied() for kind, sketch in before.sketches.items()}
        arithmetic, stated = before.provenance.arithmetic, before.privacy
        unit = cast(Unit, stated.unit)
        return Sketched(empty, (), arithmetic, n=0, n_patients=0, weight=stated.weight, unit=unit)

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

    def _settle(self, drawn: _Drawn, sketches: Mapping[str, Sketch], statement: PrivacyStatement) -> bytes:
        exact, group = drawn.exact, drawn.group
        site = self.settlement.identity.name
        fingerprint = noisy_fingerprint(site, self.card, self.space, sketches, statement, exact.arithmetic)
        mechanism = {
            "name": DISCRETE_GAUSSIAN,
            SPACE: self.space.space_id,
            "weight": exact.weight,
            "noise": dict(drawn.noised.noise),
        } | ({"spent": {kind: str(rho) for kind, rho in exact.spent.items()}} if exact.spent else {})
        charge = self._charge(fingerprint.fingerprint_id, group, drawn.noised.rho)
        pending = Pending(replace(charge, mechanism=mechanism), fingerprint, group.tokens)
        return self.settlement.settle(pending, self.policy.budgets())

    def _charge(self, release_id: str, group: _Group, rho: Fraction) -> Charge:
        population = self.policy.terms.population.name
        return Charge(release_id, self.job_id, self.policy.name, population, group.cohort, rho)


@contextmanager
def data_of(task: str) -> Iterator[None]:
    """Give everything that stands against a release because of the data one code: it could tell of a patient.

    Args:
        task: The task.

    Raises:
        NotReleasableError: Saying why, to the site alone.
        StoreError: As it is: a full disk or a lost file of the site's own says nothing of patients.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        problem, remedy = (
            (error.problem, error.remedy) if isinstance(error, FedprintError) else (repr(error), "")
        )
        raise NotReleasableError(f"task {task} cannot be released: {problem}", remedy=remedy) from error


def _cohort(series: str, number: int) -> str:
    return f"{series}/{_name(number)}"


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


def _require_same_levels(policy: TaskPolicy, before: Fingerprint, space: Space) -> None:
    """Raise where sketches would not add up; before there is a sum, which shows whether anybody is new."""
    known, levels = before.sketches.get(CdfSketch.kind), policy.terms.levels
    if not isinstance(known, CdfSketch):
        return
    now = levels or CdfSketch.for_space(space).n_levels
    if known.n_levels != now:
        raise PolicyError(
            f"task {policy.name}: levels was {known.n_levels} for the patients released before and is {now} "
            "now, so that they cannot be added",
            remedy='restore it in the policy, or set refresh = "whole" to release everybody anew',
        )


def _joined(before: PrivacyStatement, now: PrivacyStatement) -> PrivacyStatement:
    """Return what holds for a sum over disjoint groups of patients: noise adds up, nobody pays twice."""
    dearer = max(before, now, key=lambda statement: Fraction(statement.rho))
    noise = {name: before.noise[name] + now.noise[name] for name in now.noise}
    return replace(dearer, cohorts=before.cohorts + 1, noise=noise, ledger_seq=None, ledger_hash="")
