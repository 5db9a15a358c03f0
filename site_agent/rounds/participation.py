"""How a site takes part in rounds: whom it answers, what it agrees to, and what its log says of it."""

import logging
import time
from collections.abc import Callable
from typing import Any

from federation.errors import (
    DeadlineError,
    FedprintError,
    MessageError,
    PolicyError,
    ReplayError,
    RoundError,
    TermsError,
)
from federation.messages import DONE, WITHHELD
from federation.pooled import PURPOSE
from federation.round_messages import (
    ADVERTISE,
    UNMASK,
    AdvertiseRequest,
    Answer,
    RoundRequest,
    StepReply,
    StepRequest,
)
from federation.secagg import client
from federation.transfer import masked_update
from site_agent.events import ROUND
from site_agent.jobs import Site
from site_agent.policy import Policy
from site_agent.rounds.contribution import Asked, Contribution
from site_agent.rounds.memory import EndedRound, Kept, KnownRound, OpenRound, question_digest
from site_agent.rounds.pooled_sketches import PooledSketches
from site_agent.rounds.round_files import SiteRounds, forget_if_expired
from site_agent.rounds.turn import Turn
from site_agent.transfer.masked_update import MaskedBackbone

log = logging.getLogger("fedprint.site")

CONTRIBUTIONS: dict[str, Callable[[Asked], Contribution]] = {
    PURPOSE: PooledSketches.of,
    masked_update.PURPOSE: MaskedBackbone.of,
}
"""What can be summed, by the name that the purpose of a round gives it."""

ROUND_EVENT, EXPIRED_EVENT = ROUND, "round-expired"
"""What the site's log calls a step of a round, and the end of one that nobody finished in time."""


def answer_round(site: Site, request: RoundRequest) -> StepReply:
    """Answer one step of a round, the same to whoever repeats the same question.

    Whatever goes wrong becomes a code; its text stays in the site's log.
    """
    try:
        answer = _answered(site, request)
        code = DONE if answer is not None else WITHHELD
        told: dict[str, Any] = {}
    except FedprintError as error:
        answer, code, told = None, error.code, {"text": str(error)}
    except Exception as error:
        log.exception("step %s of a round failed", request.step)
        answer, code, told = None, "internal", {"text": f"{type(error).__name__}: see the site's console"}
    round_id, job = _round_id(request), request.job
    site.state.record(
        ROUND_EVENT,
        round=round_id,
        step=request.step,
        job=job.job_id,
        code=code,
        **_names(site, request),
        **told,
    )
    return StepReply(site.config.name, job.job_id, job.nonce, round_id, request.step, answer, code)


def _answered(site: Site, request: RoundRequest) -> Answer | None:
    """Return the answer; None to who asks for a cohort that the policy does not name."""
    policy = Policy.read(site.config.policy_path)
    policy.check_aggregator(request.job.aggregator)
    forget_expired_rounds(site)
    if time.time() > request.job.deadline:
        raise DeadlineError(f"step {request.step} was not begun before the deadline")
    if isinstance(request, StepRequest):
        return _go_on(site, policy, request)
    if request.terms.cohort not in policy.cohorts:
        return None
    return _begin(Asked(site, policy, request.job, request.terms, request.space))


def _begin(asked: Asked) -> Answer:
    """Agree to take part, once all work on images is done."""
    site, terms, rounds = asked.site, asked.terms, _rounds(asked.site)
    contribution, files = _contribution(asked), rounds.of(terms.round_id)
    question = question_digest(ADVERTISE, terms)
    if files.read() is None and time.time() > terms.expires:
        raise _expired(terms.round_id)
    with files.alone():
        known = files.read()
        if known is not None:
            _require_same_round(known, terms.digest.hex(), asked.job.aggregator)
            return _open(known, ADVERTISE).answers[ADVERTISE].again(question, terms.round_id, ADVERTISE)
        contribution.require_unpaid()
        prepared = contribution.prepare()
        state, answer = client.advertise(terms, site.config.name, site.identity)
        kept, began = {ADVERTISE: Kept(question, answer)}, round(time.time(), 3)
        who = contribution.task, asked.job.aggregator, began
        files.keep(OpenRound(terms, *who, state, kept, prepared, prepared.charge))
        return answer


def _go_on(site: Site, policy: Policy, request: StepRequest) -> Answer:
    """Take the next step of a round that was begun."""
    files = _rounds(site).of(request.round_id)
    _require_known(files.read(), request)
    with files.alone():
        known = _require_known(files.read(), request)
        _require_same_round(known, request.digest, request.job.aggregator)
        if isinstance(known, EndedRound) and known.last is not None and request.step == UNMASK:
            question = question_digest(request.step, request.message)
            return known.last.again(question, request.round_id, request.step)
        running = _open(known, request.step)
        contribution = _contribution(Asked(site, policy, request.job, running.terms))
        return Turn(site, files, running, contribution, request.job.job_id).answer(request)


def _contribution(asked: Asked) -> Contribution:
    """Return what the site adds, if its policy allows the round.

    Raises:
        PolicyError: If it does not.
        RosterError: If others take part than the policy names.
        TermsError: If nobody here knows what is to be summed.
    """
    terms, site = asked.terms, asked.site
    asked.policy.cohort(terms.cohort).require_terms(terms, site.config.name, site.identity.public_key)
    purpose = terms.purpose.get("purpose")
    make = CONTRIBUTIONS.get(purpose) if isinstance(purpose, str) else None
    if make is None:
        known = ", ".join(sorted(CONTRIBUTIONS))
        raise TermsError(
            f"the purpose of a round is {str(purpose)[:80]!r}, expected one of: {known}",
            remedy="use the same fedprint version everywhere",
        )
    contribution = make(asked)
    contribution.require()
    return contribution


def _require_known(known: KnownRound | None, request: StepRequest) -> KnownRound:
    if known is None:
        raise RoundError(
            f"this site takes no part in round {request.round_id}", remedy="begin the round with everybody"
        )
    return known


def _require_same_round(known: KnownRound, digest: str, aggregator: str) -> None:
    """Raise unless the terms are those that the site agreed to, and the same aggregator asks."""
    if digest != known.digest:
        raise ReplayError(
            f"round {known.round_id} has other terms at this site: a round id is used once",
            remedy="give every round an id of its own",
        )
    if aggregator != known.aggregator:
        raise PolicyError(
            f"round {known.round_id} was begun by another aggregator", remedy="begin a round of your own"
        )


def _open(known: KnownRound, step: str) -> OpenRound:
    """Return a round that goes on.

    Raises:
        DeadlineError: If it has expired.
        ReplayError: If it is finished.
    """
    if isinstance(known, OpenRound):
        return known
    if known.last is None:
        raise _expired(known.round_id)
    raise ReplayError(
        f"round {known.round_id} is finished at this site, so that step {step} is not answered any more",
        remedy="start another round",
    )


def _expired(round_id: str) -> DeadlineError:
    return DeadlineError(f"round {round_id} has expired", remedy="start another one, with more time")


def forget_expired_rounds(site: Site) -> None:
    """Forget the secrets of every round whose time is over; done whenever anything is asked of the site."""
    for files in _rounds(site).all():
        ended = forget_if_expired(files)
        if ended is not None:
            site.state.record(EXPIRED_EVENT, round=ended.round_id, cohort=ended.cohort, task=ended.task)


def _rounds(site: Site) -> SiteRounds:
    return SiteRounds(site.state.folder, site.config.name)


def _round_id(request: RoundRequest) -> str:
    return request.terms.round_id if isinstance(request, AdvertiseRequest) else request.round_id


def _names(site: Site, request: RoundRequest) -> dict[str, str]:
    """Return cohort and task for the log, as far as they are known."""
    try:
        about = _rounds(site).of(_round_id(request)).about()
    except MessageError:
        about = {}
    told = {"cohort": request.terms.cohort} if isinstance(request, AdvertiseRequest) else {}
    return told | {key: str(about[key]) for key in ("cohort", "task") if key in about}
