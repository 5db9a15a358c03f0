"""Pooled fingerprints: the opened sum of every cohort's sketches enters the catalogue like any other.

A sum is asked for once. What stands in the catalogue for the same members and purpose stays, at no cost to
anybody, unless the cohort's ``refresh_days`` are over.
"""

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flwr.serverapp import Grid

import federation
from aggregator.cohort_config import CohortConfig
from aggregator.config import HubConfig
from aggregator.intake import admit
from aggregator.jobs.job import CALIBRATE
from aggregator.log.job_record import recorded_job, tell_finished
from aggregator.log.told import told_of, told_of_round
from aggregator.log.witness import Witnessing
from aggregator.rounds.missing import Missing
from aggregator.rounds.round_store import FINISHED, OPENED, KeptRound, RoundStore, same_question
from aggregator.rounds.secure_sum import SumResult, abandon_expired, secure_sum
from aggregator.store import Catalogue, Listing
from federation.errors import (
    ConfigError,
    EmptyCatalogueError,
    FedprintError,
    FingerprintError,
    IntakeError,
    RosterError,
    VectorError,
)
from federation.files import read_file
from federation.fingerprint import Fingerprint, Provenance
from federation.identity import Identity
from federation.log.kinds import ACCEPTED, MISSING, ROUND
from federation.pooled import PooledRelease
from federation.sampling import SamplingPlan
from federation.secagg import graph
from federation.secagg.terms import Terms, honest_shares
from federation.space import Space

log = logging.getLogger("fedprint.hub")

ARITHMETIC = "pooled"
"""What the provenance of a sum says where a site's names how its network was executed."""

_SPARE_S = 86_400.0  # in which an aggregator that was interrupted can go on
_DAY_S = 86_400.0


@dataclass(frozen=True)
class PooledOutcome:
    """What became of the cohorts.

    Args:
        accepted: Addresses of the sums that stand in the catalogue.
        missing: Cohorts without one from this run, and why.
        nodes: Site → the node that answered for it.
    """

    accepted: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    nodes: Mapping[str, int] = field(default_factory=dict)


def run_pooled_rounds(
    grid: Grid, aggregator: Identity, hub: HubConfig, space: Space, catalogue: Catalogue, job_id: str
) -> PooledOutcome:
    """Bring the sum of every configured cohort into the catalogue, one cohort after the other.

    Args:
        grid: Flower's grid.
        aggregator: Who asks, and signs requests and sums.
        hub: The aggregator's configuration.
        space: The space of the sketches; it is in the catalogue.
        catalogue: Where sums go.
        job_id: Id of the job.

    Raises:
        StoreError: If the catalogue cannot be written.
    """
    if not hub.cohort:
        return PooledOutcome()
    store = RoundStore.beside(hub.catalogue)
    pooling = _Pooling(grid, aggregator, hub, space, catalogue, store, job_id)
    accepted: list[str] = []
    missing: list[Missing] = []
    with store.locked("pooled"):
        for kept in abandon_expired(store):
            pooling.tell(kept)
        for cohort in hub.cohort:
            try:
                pooling.bring(cohort)
                accepted.append(cohort.address)
            except FedprintError as error:
                log.warning("cohort %s: %s", cohort.address, error)
                missing.append(Missing(cohort.name, cohort.task, error.code))
                told = {"site": cohort.name, "task": cohort.task, "code": error.code}
                pooling.record(MISSING, **told, sites=list(cohort.sites))
    return PooledOutcome(tuple(accepted), tuple(missing), pooling.nodes)


def run_calibration_job(grid: Grid, hub: HubConfig, job_id: str, cohort: str = "") -> PooledOutcome:
    """Open the sums of cohorts in the hub's space, and ask nobody for anything else.

    The space is a coarse one, whose histograms bin edges are to follow; the hub file names a catalogue of its
    own for it.

    Args:
        grid: Flower's grid.
        hub: The aggregator's configuration.
        job_id: Id of the job.
        cohort: Name of the only cohort that is asked; by default all are.

    Raises:
        ConfigError: If there is no such cohort, or the catalogue is that of another space.
        StoreError: If the key or the space cannot be read or the catalogue not be written.
    """
    asked = tuple(each for each in hub.cohort if cohort in ("", each.name))
    if not asked:
        raise ConfigError(
            f"the hub file has no [[cohort]] {cohort}".rstrip(), remedy="name one of its cohorts"
        )
    aggregator = Identity.load_or_create(hub.consortium, hub.key)
    space = Space.from_bytes(read_file(hub.space, "space"))
    catalogue = Catalogue(hub.catalogue, create=True)
    try:
        _require_own_catalogue(catalogue, space)
        with catalogue.writing() as writer:
            writer.add_space(space)
        own = hub.model_copy(update={"cohort": asked})
        with recorded_job(catalogue, job_id, CALIBRATE):
            found = run_pooled_rounds(grid, aggregator, own, space, catalogue, job_id)
            with catalogue.writing() as writer:
                tell_finished(writer, job_id, CALIBRATE)
        Witnessing(grid, aggregator, job_id, hub.roster, catalogue, hub.members).ask(found.nodes)
        return found
    finally:
        catalogue.close()


def release_of(cohort: CohortConfig, space: Space) -> PooledRelease:
    """Return what a cohort sums.

    Raises:
        BudgetError: If its budget allows no noise that can be drawn.
        PolicyError: If sketches of the space cannot be pooled, or not with noise.
    """
    n = len(cohort.sites)
    colluders = graph.most_colluders(n) if cohort.colluders is None else cohort.colluders
    return PooledRelease.from_budget(
        space,
        cohort.task,
        cohort.budget,
        cohort.delta or 0.0,
        cohort.images_per_patient or 0,
        honest_shares(graph.minimum(n), colluders),
        cohort.max_patients,
        cohort.unit,
    )


def terms_of(cohort: CohortConfig, release: PooledRelease, hub: HubConfig, space: Space) -> Terms:
    """Return the terms of a new round of a cohort.

    Raises:
        RosterError: If a site of the cohort is no member of the consortium any more.
        TermsError: If no safe round has these terms.
    """
    gone = sorted(set(cohort.sites) - set(hub.roster))
    if gone:
        raise RosterError(
            f"cohort {cohort.name}: {gone[0]} is no member of the consortium now",
            remedy="renew its membership, or agree on a cohort without it",
        )
    return Terms.for_cohort(
        secrets.token_hex(16),
        cohort.name,
        {site: hub.roster[site] for site in cohort.sites},
        release.to_json(),
        length=release.length(space),
        bound=release.bound(space, len(cohort.sites)),
        expires=float(round(time.time() + hub.timeout_s + 4 * cohort.step_timeout_s + _SPARE_S)),
        colluders=cohort.colluders,
    )


@dataclass(frozen=True)
class _Pooling:
    """One run over the cohorts."""

    grid: Grid
    aggregator: Identity
    hub: HubConfig
    space: Space
    catalogue: Catalogue
    store: RoundStore
    job_id: str
    nodes: dict[str, int] = field(default_factory=dict)

    def bring(self, cohort: CohortConfig) -> None:
        """Make sure that a cohort's sum stands in the catalogue."""
        release = release_of(cohort, self.space)
        terms = terms_of(cohort, release, self.hub, self.space)
        if any(kept.status == OPENED for kept in self.store.going_on(terms)) or not self._stands(
            cohort, terms
        ):
            found = self._sum(cohort, terms)
            self.nodes.update(found.nodes)
            self._publish(cohort, release, found)

    def tell(self, kept: KeptRound) -> None:
        """Write into the catalogue's record what became of a round."""
        self.record(ROUND, **told_of_round(kept))

    def record(self, kind: str, **detail: Any) -> None:
        """Append to the catalogue's record."""
        with self.catalogue.writing() as writer:
            writer.add_event(kind, self.job_id, **detail)

    def _stands(self, cohort: CohortConfig, terms: Terms) -> bool:
        """Return whether the sum of the same members for the same purpose is there and recent enough."""
        finished = [
            kept
            for kept in self.store.rounds()
            if kept.status == FINISHED and same_question(kept.terms, terms)
        ]
        if not finished or _is_due(cohort, finished[-1]):
            return False
        listing = self._listing(finished[-1].result())
        if listing is None:
            return False
        if not listing.current:  # the cohort was not configured for a while
            again = self.catalogue.fingerprint(listing.seq, self.space)
            with self.catalogue.writing() as writer:
                writer.add_fingerprint(again)
                writer.add_event(ACCEPTED, self.job_id, **told_of(again, cohort.sites))
        return True

    def _listing(self, fingerprint_id: str) -> Listing | None:
        known = self.catalogue.listings(self.space)
        return next((each for each in known if each.fingerprint_id == fingerprint_id), None)

    def _sum(self, cohort: CohortConfig, terms: Terms) -> SumResult:
        try:
            return secure_sum(
                self.grid,
                self.aggregator,
                self.hub.roster,
                terms,
                self.space,
                self.store,
                job_id=self.job_id,
                timeout_s=self.hub.timeout_s,
                step_timeout_s=cohort.step_timeout_s,
            )
        except FedprintError:
            asked = [kept for kept in self.store.rounds() if same_question(kept.terms, terms)]
            for kept in asked[-1:]:
                self.tell(kept)
            raise

    def _publish(self, cohort: CohortConfig, release: PooledRelease, found: SumResult) -> None:
        """Bring an opened sum into the catalogue; what fails the checks of intake is given up."""
        try:
            fingerprint = self._fingerprint(cohort, release, found)
            admitted = admit(
                fingerprint.to_bytes(), cohort.name, cohort.task, self.aggregator.public_key, self.space
            )
        except (VectorError, FingerprintError, IntakeError) as error:
            found.kept.abandon(error.code, error.problem)
            self.tell(found.kept)
            raise
        with self.catalogue.writing() as writer:
            writer.add_fingerprint(admitted)
            writer.add_event(ACCEPTED, self.job_id, **told_of(admitted, found.contributors))
            writer.add_event(ROUND, self.job_id, **told_of_round(found.kept))
        found.kept.finish(admitted.fingerprint_id)

    def _fingerprint(self, cohort: CohortConfig, release: PooledRelease, found: SumResult) -> Fingerprint:
        """Return the signed sum; its card says of numbers only what the sum says."""
        n = len(found.contributors)
        sketches = release.from_vector(found.total, self.space, release.total_noise(n))
        n_images = max(1, round(sketches[min(sketches)].n / release.weight))
        return Fingerprint(
            site=cohort.name,
            card=cohort.card(n_images),
            space_id=self.space.space_id,
            sketches=sketches,
            privacy=release.statement(self.space, n),
            provenance=Provenance(federation.__version__, SamplingPlan(None), ARITHMETIC, None),
        ).signed_by(self.aggregator)


def _is_due(cohort: CohortConfig, kept: KeptRound) -> bool:
    if cohort.refresh_days is None:
        return False
    return time.time() - (kept.ended() or kept.began) >= cohort.refresh_days * _DAY_S


def _require_own_catalogue(catalogue: Catalogue, space: Space) -> None:
    try:
        known = catalogue.latest_space()
    except EmptyCatalogueError:
        return
    if known.space_id != space.space_id:
        raise ConfigError(
            f"catalogue {catalogue.place} is that of space {known.space_id[:12]}",
            remedy="give calibration a hub file with a catalogue of its own",
        )
