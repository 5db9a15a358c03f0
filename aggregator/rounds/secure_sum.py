"""Secure aggregation over Flower: a cohort's vectors in, their sum out, and nothing in between.

Whatever a sum is for, only its terms say it: sketches of a task, a coarse histogram, an update of a model.
"""

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from aggregator.rounds.round import FAILED, NO_REPLY, Asking, RoundResult, ask_every_node, ask_sites
from aggregator.rounds.round_files import Closed, Departed
from aggregator.rounds.round_store import KeptRound, RoundStore
from federation.errors import (
    CohortTooSmallError,
    DeadlineError,
    FedprintError,
    RoundError,
    StoreError,
)
from federation.identity import Identity
from federation.messages import DONE
from federation.reply_words import CODE, CRASHED, UNAVAILABLE
from federation.round_messages import (
    ADVERTISE,
    CONFIRM,
    MASK,
    QUERY_ROUND,
    SHARE,
    UNMASK,
    AdvertiseRequest,
    Answer,
    Question,
    StepReply,
    StepRequest,
)
from federation.secagg.server import Advertising, Confirming, Masking, Opened, Revealing, Sharing
from federation.secagg.terms import Terms
from federation.space import Space

log = logging.getLogger("fedprint.hub")

Later: TypeAlias = Sharing | Masking | Confirming | Revealing
Waiting: TypeAlias = Advertising | Later
_ASKS: Mapping[type[Waiting], str] = {
    Advertising: ADVERTISE, Sharing: SHARE, Masking: MASK, Confirming: CONFIRM, Revealing: UNMASK,
}  # fmt: skip
_PASSING = frozenset(
    {NO_REPLY, FAILED, CRASHED, UNAVAILABLE, FedprintError.code, StoreError.code, DeadlineError.code}
)
"""Reasons that may be gone when a site is asked again."""


@dataclass(frozen=True)
class SumResult:
    """The sum of a cohort's vectors.

    Args:
        total: int64 [length].
        contributors: Whose vectors it is the sum of, sorted.
        kept: The round on the disk; ``kept.finish`` once the sum is wherever it is wanted.
        nodes: Site → the node that answered for it; empty where nobody had to be asked.
    """

    total: npt.NDArray[np.int64]
    contributors: tuple[str, ...]
    kept: KeptRound
    nodes: Mapping[str, int] = field(default_factory=dict)

    @property
    def terms(self) -> Terms:
        """What was asked, which may be an earlier round than the caller's."""
        return self.kept.terms

    @property
    def departures(self) -> Mapping[str, Departed]:
        """Step → site → why it did not go on from there."""
        return self.kept.departures()


@dataclass(frozen=True)
class Patience:
    """How long a round waits.

    Args:
        first_s: Seconds for the first step, in which every node is asked.
        step_s: Seconds for each later one.
    """

    first_s: float
    step_s: float


def secure_sum(
    grid: Grid,
    aggregator: Identity,
    roster: Mapping[str, str],
    terms: Terms,
    space: Space | None,
    store: RoundStore,
    *,
    job_id: str,
    timeout_s: float,
    step_timeout_s: float,
    among: Collection[str] | None = None,
) -> SumResult:
    """Return the sum of the vectors of a cohort, going on with an interrupted round that asks the same.

    A step ends when everybody who was asked has answered or failed, or when its time is over. Its end is on
    the disk before the next one begins. A round that was opened and not finished is returned without
    asking anybody.

    Args:
        grid: Flower's grid.
        aggregator: Who asks, and signs.
        roster: Site → public key of every enrolled site.
        terms: What is asked, with the id of the round that begins where none is to be gone on with.
        space: The space of the sketches that are summed; None where something else is.
        store: The aggregator's rounds.
        job_id: Id of the job.
        timeout_s: Seconds for the first step, in which every node is asked.
        step_timeout_s: Seconds for each later step.
        among: The members that a round begins with, for whoever knows that the others cannot take part; None:
            all.

    Raises:
        CohortTooSmallError: If too few sites are left; where some may only be late, the round stays open and
            is gone on with by the next call until it expires.
        RoundError: If the round cannot go on for another reason; it is abandoned then.
        StoreError: If a step cannot be made durable; it is open still then.
    """
    with store.locked("secure-sum"):
        kept = _kept_round(store, terms, job_id)
        known = {**roster, **terms.members}
        asking = Asking(grid, aggregator, job_id, QUERY_ROUND, known)
        wanted = tuple(site for site in terms.members if among is None or site in among)
        return _Drive(asking, kept, space, wanted, Patience(timeout_s, step_timeout_s)).run()


def abandon_expired(store: RoundStore) -> list[KeptRound]:
    """Give up the rounds that no site goes on with any more, and return them."""
    expired = [each for each in store.rounds() if _has_expired(each)]
    for kept in expired:
        _abandon(kept, DeadlineError("it was not opened before it expired", remedy="begin another round"))
    return expired


def _kept_round(store: RoundStore, terms: Terms, job_id: str) -> KeptRound:
    """Return the round that asks the same and can be gone on with, or a new one."""
    abandon_expired(store)
    found = store.going_on(terms)
    return found[-1] if found else store.begin(terms, job_id)


def _now() -> float:
    return time.time()


def _has_expired(kept: KeptRound) -> bool:
    return kept.is_waiting and _now() >= kept.terms.expires


def _abandon(kept: KeptRound, error: FedprintError) -> None:
    log.warning("round %s of cohort %s is abandoned: %s", kept.terms.round_id, kept.terms.cohort, error)
    kept.abandon(error.code, error.problem)


@dataclass
class _Drive:
    """One run through the steps of a round that are not closed yet."""

    asking: Asking
    kept: KeptRound
    space: Space | None
    wanted: tuple[str, ...]
    patience: Patience
    nodes: dict[str, int] = field(default_factory=dict)

    @property
    def terms(self) -> Terms:
        return self.kept.terms

    @property
    def roster(self) -> Mapping[str, str]:
        return self.asking.roster

    def run(self) -> SumResult:
        """Go on from the last closed step to the end."""
        try:
            state = self.kept.state()
        except StoreError as error:
            _abandon(self.kept, error)
            raise
        if isinstance(state, Opened):
            self.kept.tidy()
        else:
            state = self._open(state)
        return SumResult(state.total, state.contributors, self.kept, self.nodes)

    def _open(self, state: Later | None) -> Opened:
        result = self._advertised(self.wanted if state is None else state.sites)
        following: Closed
        if state is None:
            following = self._close(Advertising(self.terms), result, self.wanted)
        else:
            self._check_advertised(state, result)
            following = state
        while not isinstance(following, Opened):
            self._check_time()
            following = self._close(following, self._stepped(following), following.sites)
        return following

    def _advertised(self, expected: tuple[str, ...]) -> RoundResult[StepReply]:
        """Ask every node to take part; who does is known by its node from then on."""
        self._check_time()
        result = ask_every_node(
            self.asking,
            lambda job: AdvertiseRequest(job, self.terms, self.space),
            lambda record, job: StepReply.from_record(
                record, self.roster, job, self.terms.round_id, ADVERTISE
            ),
            deadline=self._deadline(self.patience.first_s),
            expected=expected,
            n_nodes=len(self.roster),
        )
        self.nodes = {site: node for site, node in result.nodes.items() if site in expected}
        return result

    def _check_advertised(self, state: Later, result: RoundResult[StepReply]) -> None:
        """Ask nobody again who has other keys than before: it has lost the round.

        Who has finished it already refuses the first step, and still repeats its last answer.
        """
        listed = _sharing(state).directory.advertisements
        for site in list(self.nodes):
            if result.replies[site].message not in (None, listed[site]):
                log.warning("site %s no longer knows round %s", site, self.terms.round_id)
                del self.nodes[site]

    def _stepped(self, state: Later) -> RoundResult[StepReply]:
        step, terms = _ASKS[type(state)], self.terms
        return ask_sites(
            self.asking,
            lambda job, site: StepRequest(job, terms.round_id, terms.digest.hex(), step, _said(state, site)),
            lambda record, job: StepReply.from_record(record, self.roster, job, terms.round_id, step),
            deadline=self._deadline(self.patience.step_s),
            nodes={site: self.nodes[site] for site in state.sites if site in self.nodes},
        )

    def _close(self, state: Waiting, result: RoundResult[StepReply], asked: tuple[str, ...]) -> Closed:
        """End a step with whoever answered well, durably."""
        step = _ASKS[type(state)]
        answers, departed = _judged(state, result, asked)
        for site, code in departed.items():
            log.warning("site %s leaves round %s at %r: %s", site, self.terms.round_id, step, code)
        try:
            following: Closed = state.close(answers)  # type: ignore[arg-type]
        except RoundError as error:
            self._fail(step, error, answers, departed)
            raise
        self.kept.close_step(following, departed)
        return following

    def _fail(self, step: str, error: RoundError, answers: Mapping[str, Answer], departed: Departed) -> None:
        """Abandon the round unless sites that may only be late could still complete it."""
        late = [site for site, code in departed.items() if code in _PASSING]
        hopeful = isinstance(error, CohortTooSmallError) and len(answers) + len(late) >= self.terms.minimum
        if hopeful and late:
            error.remedy = "run again when they can be reached; the round goes on where it stopped"
            log.warning("round %s waits at %r for %s", self.terms.round_id, step, ", ".join(late))
        else:
            _abandon(self.kept, error)

    def _deadline(self, patience_s: float) -> float:
        return min(_now() + patience_s, self.terms.expires)

    def _check_time(self) -> None:
        if _has_expired(self.kept):
            error = RoundError(
                f"round {self.terms.round_id} of cohort {self.terms.cohort} has expired",
                remedy="run again: another round begins",
            )
            _abandon(self.kept, error)
            raise error


def _judged(
    state: Waiting, result: RoundResult[StepReply], asked: tuple[str, ...]
) -> tuple[dict[str, Answer], dict[str, str]]:
    """Return the answers that are as they must be, and why everybody else who was asked left."""
    answers: dict[str, Answer] = {}
    departed: dict[str, str] = {}
    for site in asked:
        reply = result.replies.get(site)
        if reply is None or reply.message is None or reply.code != DONE:
            departed[site] = _code(reply.code if reply else result.missing.get(site, NO_REPLY))
            continue
        try:
            state.check(site, reply.message)  # type: ignore[arg-type]
            answers[site] = reply.message
        except FedprintError as error:
            log.warning("what site %s said is refused: %s", site, error)
            departed[site] = error.code
    return answers, departed


def _code(stated: str) -> str:
    """Return a reason as it is recorded; what is no code may hold anything."""
    return stated if CODE.fullmatch(stated) and stated != DONE else FAILED


def _said(state: Later, site: str) -> Question:
    """Return what a site is told in the step that a state waits for."""
    match state:
        case Sharing():
            return state.directory
        case Masking():
            return state.delivery(site)
        case Confirming():
            return state.survivors
        case Revealing():
            return state.confirmations


def _sharing(state: Later) -> Sharing:
    """Return the state in which everybody's keys became known."""
    match state:
        case Sharing():
            return state
        case Masking() | Confirming():
            return state.shared
        case Revealing():
            return state.confirmed.shared
