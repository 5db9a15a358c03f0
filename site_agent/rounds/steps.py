"""What a site answers in a round: each step once, and the same to whoever repeats the same question.

State and answer of a step are on the disk, in one write, before anything is said. What has to be paid for is
put aside there first, then charged to the ledger, then sent: a site that dies anywhere charges once, and
sends nothing that is not charged. When the round ends, all its secrets are forgotten.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from federation.errors import DeadlineError, FedprintError, PolicyError, ReplayError, RoundError, TermsError
from federation.messages import DONE, WITHHELD
from federation.pooled import PURPOSE
from federation.round_messages import (
    ADVERTISE,
    CONFIRM,
    MASK,
    SHARE,
    UNMASK,
    AdvertiseRequest,
    Answer,
    RoundRequest,
    StepReply,
    StepRequest,
)
from federation.secagg import client
from federation.secagg.client import Advertised, Confirmed, Masked, Shared
from federation.secagg.messages import Confirmations, Directory, Sealed, Survivors
from federation.secagg.terms import Terms
from federation.trust import TrustMode
from site_agent import jobs
from site_agent.jobs import Site
from site_agent.policy import Policy
from site_agent.rounds.contribution import Asked, Contribution, Prepared
from site_agent.rounds.memory import EndedRound, FINISHED, Kept, OpenRound, Payment, question_digest
from site_agent.rounds.pooled_sketches import PooledSketches
from site_agent.rounds.round_files import RoundFiles, SiteRounds, forget_if_expired

log = logging.getLogger("fedprint.site")

CONTRIBUTIONS: dict[str, Callable[[Asked], Contribution]] = {PURPOSE: PooledSketches.of}
"""What can be summed, by the name that the purpose of a round gives it."""


def answer_round(site: Site, request: RoundRequest) -> StepReply:
    """Answer one step of a round.

    Whatever goes wrong becomes a code; its text stays in the site's log.
    """
    header = (site.config.name, request.job.job_id, request.job.nonce, _round_id(request), request.step)
    try:
        message = _answered(site, request)
        return StepReply(*header, message, DONE if message is not None else WITHHELD)
    except FedprintError as error:
        code, text = error.code, str(error)
    except Exception as error:
        log.exception("step %s of a round failed", request.step)
        code, text = "internal", type(error).__name__
    _record(site, request, _names(site, request), code, text=text)
    return StepReply(*header, code=code)


def _answered(site: Site, request: RoundRequest) -> Answer | None:
    policy = Policy.read(site.config.policy_path)
    policy.check_aggregator(request.job.aggregator)
    if time.time() > request.job.deadline:
        raise DeadlineError(f"step {request.step} was not begun before the deadline")
    if isinstance(request, StepRequest):
        return _go_on(site, policy, request)
    if request.terms.cohort not in policy.cohorts:
        _record(site, request, {"cohort": request.terms.cohort}, WITHHELD)
        return None
    return _begin(Asked(site, policy, request.job, request.terms, request.space), request)


def _begin(asked: Asked, request: AdvertiseRequest) -> Answer:
    """Agree to take part, after all work on images is done."""
    site, terms = asked.site, asked.terms
    rounds = SiteRounds(site.state.folder, site.config.name)
    for ended in rounds.forget_expired():
        site.state.record("round-expired", round=ended.round_id, cohort=ended.cohort, task=ended.task)
    contribution = _contribution(asked)
    contribution.require()
    question, files = question_digest(ADVERTISE, terms), rounds.of(terms.round_id)
    if files.read() is None and time.time() > terms.expires:
        raise DeadlineError(f"round {terms.round_id} has expired", remedy="start another one")
    with files.alone():
        known = files.read()
        if known is not None:
            return _Round(asked, request, files, known, contribution).again(question)
        prepared = contribution.prepare()
        state, answer = client.advertise(terms, site.config.name, site.identity)
        began = OpenRound(
            terms, contribution.task, request.job.aggregator, round(time.time(), 3), state,
            {ADVERTISE: Kept(question, answer)}, prepared, prepared.charge,
        )  # fmt: skip
        files.keep(began)
        _record(site, request, _named(began), DONE)
        return answer
