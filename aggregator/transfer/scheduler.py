"""The scheduler: every site works on one step at a time, all sites at once, until nothing is left to do.

It asks, hears how far a step is, and asks again. Whoever is silent for too long has failed, and nobody else;
who comes back, under whatever node, is found by a roll call.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.common.constant import ErrorCode

from aggregator.rounds.round import INVALID_REPLY, NO_REPLY
from aggregator.transfer.admission import admit
from aggregator.transfer.answer import HUB, Average, Done, Failed
from aggregator.transfer.averages import Averager
from aggregator.transfer.board import Board
from aggregator.transfer.clock import Clock
from aggregator.transfer.lane import Lane
from aggregator.transfer.models import ModelFiles
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.post import Post, Sent
from aggregator.transfer.queue import Queue
from federation.errors import BusyError, DeadlineError, FedprintError, ModelError, StoreError
from federation.messages import DONE
from federation.transfer.messages import RUNNING, WANTS_MODEL, RollCallReply, TransferReply, TransferRequest
from federation.transfer.result import Progress
from federation.transfer.step import SearchStep, Step

log = logging.getLogger("fedprint.hub")

PASSING = frozenset({INVALID_REPLY, StoreError.code, DeadlineError.code, FedprintError.code})
"""Codes after which a step is tried again, as after errors of Flower; others stand."""

_NOBODY_THERE = frozenset(
    {
        ErrorCode.UNKNOWN,
        ErrorCode.MESSAGE_UNAVAILABLE,
        ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
        ErrorCode.NODE_UNAVAILABLE,
    }
)
_CODE = re.compile(r"[a-z0-9-]{1,40}")
_SHORTEST_POLL_S, _LONGEST_POLL_S = 0.005, 0.2
_LOOK_S = 10.0


@dataclass
class Scheduler:
    """One run of a plan.

    Args:
        plan: The plan.
        board: What is to be done.
        queue: Where it is kept.
        post: How sites are asked.
        models: The aggregator's models.
        averager: Makes averages.
        roster: Site → public key.
        lanes: Site → its lane.
        clock: The time.
    """

    plan: TransferPlan
    board: Board
    queue: Queue
    post: Post
    models: ModelFiles
    averager: Averager
    roster: Mapping[str, str]
    lanes: Mapping[str, Lane]
    clock: Clock
    _attempts: Counter[str] = field(default_factory=Counter)
    _looked_at: float = 0.0
    _poll_s: float = _SHORTEST_POLL_S

    def run(self) -> None:
        """Work until nothing is waited for."""
        while not self.board.ended:
            self._average()
            for lane in self.lanes.values():
                self._tend(lane)
            came = self.post.collect()
            for message, sent in came:
                self._take(message, sent)
            for lane in self.lanes.values():
                self._check_patience(lane)
            self._look_for_the_lost()
            self._rest(bool(came))

    def _rest(self, came: bool) -> None:
        """Look again soon where something happened, and later and later where nothing does."""
        if came:
            self._poll_s = _SHORTEST_POLL_S
        elif not self.board.ended:
            self.clock.wait(self._poll_s)
            self._poll_s = min(_LONGEST_POLL_S, self._poll_s * 1.1)

    def _average(self) -> None:
        for work in self.board.averages():
            try:
                self._finish_average(work)
            except StoreError:
                raise
            except ModelError as error:
                log.warning("an average cannot be made now: %s", error)
                self._set_aside(work.step_id, error.code)
            except FedprintError as error:
                log.warning("an average cannot be made: %s", error)
                self._fail(work.step_id, error.code, HUB)

    def _finish_average(self, work: Average) -> None:
        answers = [self.board.known[step.step_id] for step in work.steps]
        results = [answer.result for answer in answers if isinstance(answer, Done)]
        result = self.averager.make(work, results)
        self.queue.finish(work.step_id, result)
        self.board.tell(work.step_id, Done(result))
        self._forget_averaged({each.model_id for each in results} | {work.start})

    def _forget_averaged(self, model_ids: set[str | None]) -> None:
        """Remove backbones that went into an average: every round of every group would leave some behind."""
        wanted = {step.model_id for site in self.board.sites() for step in self.board.steps_of(site)}
        for average in self.board.averages():
            answers = [self.board.known[step.step_id] for step in average.steps]
            wanted |= {average.start, *(each.result.model_id for each in answers if isinstance(each, Done))}
        for model_id in model_ids - wanted - {None}:
            self.models.forget(str(model_id))

    def _tend(self, lane: Lane) -> None:
        """Give a site its next step, or ask again."""
        now = self.clock.now()
        if lane.step is not None and not self.board.wants(lane.step.step_id):
            self.queue.put_back(lane.step.step_id, "", 0)
            self._free(lane)
        if lane.step is None and not self._give_step(lane, now):
            return
        resend = lane.asked_at is not None and now - lane.asked_at > self.plan.deadline_s / 3
        if lane.node is not None and now >= lane.not_before and (lane.asked_at is None or resend):
            self._ask(lane)

    def _give_step(self, lane: Lane, now: float) -> bool:
        """Give a free site its next step; what is for a site that was given up fails."""
        steps = self.board.steps_of(lane.site)
        if steps and lane.given_up:
            self._fail_all(lane)
        elif steps:
            lane.take(steps[0], now)
        return lane.step is not None

    def _ask(self, lane: Lane, model: bytes = b"") -> None:
        step, node = lane.step, lane.node
        if step is None or node is None:
            return
        now = self.clock.now()
        job = self.post.steps.header(now + self.plan.slice_s + self.plan.deadline_s, lane.site)
        lane.asked_at, lane.has_sent_model = now, bool(model)
        if step.step_id not in self.board.working:
            self.queue.begin_step(step.step_id)
            self.board.begin(step.step_id)
        self.post.ask(TransferRequest(job, step, self.plan.slice_s, model), Sent(job, node, step))

    def _take(self, message: Message, sent: Sent) -> None:
        if sent.step is None:
            self._take_roll_call(message, sent)
            return
        lane = self.lanes[sent.step.site]
        if lane.step is None or lane.step.step_id != sent.step.step_id or lane.node != sent.node:
            return  # what was asked before the site was lost, or the step given up
        if message.has_error():
            self._take_error(lane, message.error.code)
            return
        try:
            reply = TransferReply.from_record(self.post.open(message, sent), self.roster, sent.job, sent.step)
        except FedprintError as error:
            log.warning("a reply about %s was refused: %s", sent.step.address, error)
            lane.hear(self.clock.now())
            self._try_again(lane, INVALID_REPLY)
            return
        lane.hear(self.clock.now())
        self._take_reply(lane, sent.step, reply)

    def _take_error(self, lane: Lane, code: int) -> None:
        """Try again where the site's app failed; look for the site where nobody answered for it."""
        if code in _NOBODY_THERE:
            self.post.drop(lane.node)
            lane.lose(self.clock.now())
        else:
            lane.hear(self.clock.now())
            self._try_again(lane, f"flower-{code}")

    def _take_reply(self, lane: Lane, step: Step, reply: TransferReply) -> None:
        if reply.state == DONE:
            self._finish(lane, step, reply)
        elif reply.state == RUNNING:
            if reply.progress is not None:
                self.queue.tell_progress(step.step_id, reply.progress)
            lane.move(_epochs_done(step, reply.progress), self.clock.now())
        elif reply.state == WANTS_MODEL:
            self._send_model(lane, step)
        elif reply.state == BusyError.code:
            lane.pause(self.clock.now())
        elif not _CODE.fullmatch(reply.state):
            self._try_again(lane, INVALID_REPLY)
        elif reply.state in PASSING:
            self._try_again(lane, reply.state)
        else:
            self._fail(step.step_id, reply.state, step.site)
            lane.n_stalled = 0
            self._free(lane)

    def _finish(self, lane: Lane, step: Step, reply: TransferReply) -> None:
        try:
            result = admit(step, reply, self.roster[step.site])
        except FedprintError as error:
            log.warning("a result was refused: %s", error)
            self._try_again(lane, error.code if isinstance(error, ModelError) else INVALID_REPLY)
            return
        if reply.model:
            self.models.keep(reply.model)
        self.queue.finish(step.step_id, result)
        self.board.tell(step.step_id, Done(result))
        lane.n_stalled = 0
        self._free(lane)

    def _send_model(self, lane: Lane, step: Step) -> None:
        """Send a step's first weights to a site that does not have them."""
        if step.model_id is None or lane.has_sent_model:
            self._try_again(lane, INVALID_REPLY)
            return
        try:
            data = self.models.read(step.model_id)
        except ModelError as error:
            log.warning("%s", error)
            self._set_aside(step.step_id, error.code)
            self._free(lane)
            return
        self._ask(lane, data)

    def _try_again(self, lane: Lane, code: str) -> None:
        """Ask once more, or give the step up where it was tried often enough."""
        if lane.step is None:
            return
        step_id = lane.step.step_id
        self._attempts[step_id] += 1
        if self._attempts[step_id] >= self.plan.attempts:
            self._fail(step_id, code, lane.site)
            self._free(lane)
        else:
            self.queue.put_back(step_id, code, self._attempts[step_id])
            self.board.working.discard(step_id)
            lane.pause(self.clock.now())

    def _check_patience(self, lane: Lane) -> None:
        """Give up a site that is silent, and a step that does not come on."""
        now = self.clock.now()
        if lane.step is None:
            return
        silent = lane.node is None or lane.asked_at is not None
        if silent and now - lane.heard_at > self.plan.deadline_s:
            self._give_up(lane, NO_REPLY)
        elif now - lane.moved_at > self.plan.deadline_s:
            self._fail(lane.step.step_id, DeadlineError.code, lane.site)
            self._free(lane)
            lane.n_stalled += 1
            if lane.n_stalled >= self.plan.attempts:  # else a site that only says so works for ever
                self._give_up(lane, DeadlineError.code)

    def _give_up(self, lane: Lane, code: str) -> None:
        """Expect nothing of a site any more, until it is found by a roll call."""
        log.warning("site %s is given up: %s", lane.site, code)
        lane.given_up = code
        self._free(lane)
        self._fail_all(lane)

    def _look_for_the_lost(self) -> None:
        """Ask nodes that nobody is known to answer for who they are, where a site is missed."""
        now = self.clock.now()
        missed = [lane for lane in self.lanes.values() if self._is_missed(lane, now)]
        if not missed or now - self._looked_at < min(_LOOK_S, self.plan.deadline_s / 3):
            return
        self._looked_at = now
        known = {lane.node for lane in self.lanes.values()}
        for node in self.post.steps.grid.get_node_ids():
            if node not in known and not self.post.is_calling(node, now):
                self.post.call(node, now + self.plan.deadline_s / 3)

    def _is_missed(self, lane: Lane, now: float) -> bool:
        if lane.given_up == NO_REPLY:
            return True
        silent_s = now - lane.asked_at if lane.asked_at is not None else 0.0
        return lane.step is not None and (lane.node is None or silent_s > 3 * self.plan.slice_s)

    def _take_roll_call(self, message: Message, sent: Sent) -> None:
        if message.has_error():
            return
        try:
            reply = RollCallReply.from_record(self.post.open(message, sent), self.roster, sent.job)
        except FedprintError as error:
            log.warning("a reply to a roll call was refused: %s", error)
            return
        lane, now = self.lanes[reply.site], self.clock.now()
        if self._is_missed(lane, now) or lane.node is None:
            self.post.drop(lane.node)
            lane.find(sent.node, now)

    def _fail_all(self, lane: Lane) -> None:
        """Fail all that waits for a site; what that opens for it is for later."""
        for step in self.board.steps_of(lane.site):
            if self.board.wants(step.step_id):
                self._fail(step.step_id, lane.given_up, lane.site)

    def _fail(self, step_id: str, code: str, site: str) -> None:
        self.queue.fail(step_id, code)
        self.board.tell(step_id, Failed(code, site))

    def _set_aside(self, step_id: str, code: str) -> None:
        """Fail a step in this run alone: a model is lost here, which the next run asks its site for again."""
        self.queue.put_back(step_id, code, 0)
        self.board.tell(step_id, Failed(code, HUB))

    def _free(self, lane: Lane) -> None:
        self.post.drop(lane.node)
        lane.leave()


def _epochs_done(step: Step, progress: Progress | None) -> int:
    """Return how many epochs are done, -1 where the site does not say, and never more than can be true."""
    if progress is None:
        return -1
    trainings = step.candidates + 2 if isinstance(step, SearchStep) else 1
    return min(progress.epoch, trainings * step.recipe.epochs)
