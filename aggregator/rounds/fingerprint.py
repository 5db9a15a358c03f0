"""The fingerprint job: ask, admit, store, grow the matrix, then let listening sites rank."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from flwr.serverapp import Grid

from aggregator import matrix
from aggregator.config import HubConfig
from aggregator.intake import admit_reply
from aggregator.jobs.job import FINGERPRINT
from aggregator.log.job_record import recorded_job, tell_finished
from aggregator.log.told import told_of
from aggregator.log.witness import Witnessing
from aggregator.rounds.missing import Missing
from aggregator.rounds.pooled import run_pooled_rounds
from aggregator.rounds.round import RoundResult, ask_everyone
from aggregator.store import Catalogue
from federation import distances
from federation.errors import IntakeError
from federation.files import read_file
from federation.fingerprint import Fingerprint
from federation.identity import Identity
from federation.log.kinds import ACCEPTED, MISSING, WITHDRAWN
from federation.messages import (
    DONE,
    QUERY_FINGERPRINT,
    QUERY_LISTEN,
    WITHHELD,
    FingerprintRequest,
    ListenRequest,
    SiteReply,
)
from federation.space import Space

log = logging.getLogger("fedprint.hub")


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Args:
        consortium: Name of the consortium.
        distance: Distance that ranks sources.
        accepted: Addresses of the fingerprints that entered the catalogue.
        listening: Addresses of tasks that rank locally and release nothing.
        missing: Who is not there, and why.
        shared_images: Group → addresses of tasks that share images.
    """

    consortium: str
    distance: str
    accepted: tuple[str, ...]
    listening: tuple[str, ...]
    missing: tuple[Missing, ...]
    shared_images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def run_fingerprint_job(grid: Grid, hub: HubConfig, job_id: str) -> Summary:
    """Fingerprint the whole consortium and bring catalogue and matrix up to date.

    Raises:
        StoreError: If the key or the space cannot be read or the catalogue not be written.
        UnknownNameError: If the space has no sketches for the distance that ranks sources.
    """
    aggregator = Identity.load_or_create(hub.consortium, hub.key)
    space = Space.from_bytes(read_file(hub.space, "space"))
    distance = distances.chosen(space, hub.distance)
    catalogue = Catalogue(hub.catalogue, create=True)
    try:
        with recorded_job(catalogue, job_id, FINGERPRINT):
            with catalogue.writing() as writer:
                writer.add_space(space)
            answers = _ask_for_fingerprints(grid, aggregator, hub, space, job_id)
            accepted, missing = _admit_all(catalogue, hub, space, answers, job_id)
            _withdraw_what_is_no_longer_offered(catalogue, hub, space, answers, job_id)
            pooled = run_pooled_rounds(grid, aggregator, hub, space, catalogue, job_id)
            matrix.grow(catalogue, space)
            listening = _withheld(answers)
            if listening:
                missing += _let_listeners_rank(
                    grid, aggregator, hub, space, catalogue, job_id, listening, distance
                )
            missing += pooled.missing
            accepted += pooled.accepted
            summary = Summary(
                hub.consortium, distance, accepted, listening, tuple(missing), hub.shared_images
            )
            with catalogue.writing() as writer:
                writer.finish_run(job_id, space, asdict(summary))
                tell_finished(writer, job_id, FINGERPRINT)
        witnesses = {**pooled.nodes, **answers.nodes}
        Witnessing(grid, aggregator, job_id, hub.roster, catalogue, hub.members).ask(witnesses)
    finally:
        catalogue.close()
    return summary


def _ask_for_fingerprints(
    grid: Grid, aggregator: Identity, hub: HubConfig, space: Space, job_id: str
) -> RoundResult[SiteReply]:
    return ask_everyone(
        grid,
        aggregator,
        QUERY_FINGERPRINT,
        lambda job: FingerprintRequest(job, space, hub.sampling),
        job_id=job_id,
        timeout_s=hub.timeout_s,
        roster=hub.roster,
    )


def _admit_all(
    catalogue: Catalogue, hub: HubConfig, space: Space, answers: RoundResult[SiteReply], job_id: str
) -> tuple[tuple[str, ...], list[Missing]]:
    admitted: list[Fingerprint] = []
    missing = [Missing(site, "", code) for site, code in answers.missing.items()]
    for site, reply in sorted(answers.replies.items()):
        if reply.code != DONE:
            missing.append(Missing(site, "", reply.code))
        for result in reply.results:
            if result.code == DONE:
                try:
                    admitted.append(
                        admit_reply(result.fingerprint, site, result.task, hub.roster[site], space)
                    )
                except IntakeError as error:
                    log.warning("%s", error)
                    missing.append(Missing(site, result.task, error.code))
            elif result.code != WITHHELD:
                missing.append(Missing(site, result.task, result.code))
    with catalogue.writing() as writer:
        for fingerprint in admitted:
            writer.add_fingerprint(fingerprint)
            writer.add_event(ACCEPTED, job_id, **told_of(fingerprint))
        for entry in missing:
            writer.add_event(MISSING, job_id, **asdict(entry))
    return tuple(fingerprint.key for fingerprint in admitted), missing


def _withdraw_what_is_no_longer_offered(
    catalogue: Catalogue, hub: HubConfig, space: Space, answers: RoundResult[SiteReply], job_id: str
) -> None:
    """Sites and cohorts that left, tasks that are gone and tasks that now only listen are no longer sources.

    A task that failed this time, or whose site did not answer or refused the whole job, keeps the fingerprint
    it had; so does a cohort that is configured still.
    """
    cohorts = {cohort.address for cohort in hub.cohort}
    with catalogue.writing() as writer:
        for entry in catalogue.listings(space):
            reply = answers.replies.get(entry.site)
            codes = {result.task: result.code for result in reply.results} if reply else {}
            answered = reply is not None and reply.code == DONE
            gone = answered and codes.get(entry.task, WITHHELD) == WITHHELD
            offered = entry.key in cohorts or (entry.site in hub.roster and not gone)
            if entry.current and not offered:
                writer.withdraw(entry.seq)
                writer.add_event(WITHDRAWN, job_id, task=entry.key, id=entry.fingerprint_id)


def _withheld(answers: RoundResult[SiteReply]) -> tuple[str, ...]:
    return tuple(
        f"{site}/{result.task}"
        for site, reply in sorted(answers.replies.items())
        for result in reply.results
        if result.code == WITHHELD
    )


def _let_listeners_rank(
    grid: Grid,
    aggregator: Identity,
    hub: HubConfig,
    space: Space,
    catalogue: Catalogue,
    job_id: str,
    listening: tuple[str, ...],
    distance: str,
) -> list[Missing]:
    sources = tuple(catalogue.content(e.seq) for e in catalogue.listings(space) if e.current)
    answers = ask_everyone(
        grid,
        aggregator,
        QUERY_LISTEN,
        lambda job: ListenRequest(job, space, hub.sampling, distance, sources),
        job_id=job_id,
        timeout_s=hub.timeout_s,
        roster=hub.roster,
    )
    waiting = {key.split("/", 1)[0] for key in listening}
    return [Missing(site, "", code) for site, code in answers.missing.items() if site in waiting] + [
        Missing(site, result.task, result.code)
        for site, reply in sorted(answers.replies.items())
        for result in reply.results
        if result.code not in (DONE, WITHHELD)
    ]
