"""The transfer job: call the roll, unfold the plan, let sites work, and keep what was found."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from flwr.serverapp import Grid

from aggregator import matrix
from aggregator.config import HubConfig
from aggregator.jobs.job import TRANSFER
from aggregator.log.job_record import recorded_job, tell_finished
from aggregator.log.told import told_of_round
from aggregator.log.witness import Witnessing
from aggregator.rounds.round import Asking, RoundResult, ask_every_node
from aggregator.rounds.round_store import KeptRound, RoundStore
from aggregator.store import Catalogue
from aggregator.transfer.answer import Average, Done, site_of
from aggregator.transfer.averages import Averager
from aggregator.transfer.board import Board
from aggregator.transfer.clock import Clock, WallClock
from aggregator.transfer.compile import courses
from aggregator.transfer.lane import Lane
from aggregator.transfer.models import ModelFiles
from aggregator.transfer.offers import Offers
from aggregator.transfer.outcomes import Bridged, bridge_outcomes
from aggregator.transfer.pairs import (
    Distances,
    check_addresses,
    check_groups,
    choose_pairs,
    kept_apart,
    may_serve,
)
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.post import Post
from aggregator.transfer.queue import DONE, FAILED, KnownPlan, Queue, known_plans, plan_id_of
from aggregator.transfer.scheduler import Scheduler
from aggregator.transfer.setup import Pair, Setup
from federation import distances
from federation.errors import EmptyCatalogueError, TransferError
from federation.files import locked
from federation.identity import Identity
from federation.log import kinds
from federation.messages import DONE as ANSWERED
from federation.transfer.messages import QUERY_ROLL_CALL, QUERY_TRANSFER, RollCallReply, RollCallRequest

log = logging.getLogger("fedprint.hub")

ROLL_CALL_S = 180.0
"""A node that starts a process for every message takes long to answer; absent sites cost this once."""

_SUM_S, _SLICES = 120.0, 3
"""Seconds that a sum under masks waits for a site, or slices of other work that the site may be at."""

_LOCK = "transfer.lock"


@dataclass(frozen=True)
class TransferSummary:
    """How a run of a plan ended.

    Args:
        plan: Name of the plan.
        done: Number of experiments that were measured.
        failed: Number of experiments that could not be.
        reasons: Reason → number of experiments that failed for it.
        absent: Sites that did not answer the roll call.
        outcomes: What became of the catalogue's outcomes.
    """

    plan: str
    done: int
    failed: int
    reasons: Mapping[str, int]
    absent: tuple[str, ...]
    outcomes: Bridged


@dataclass(frozen=True)
class Conditions:
    """What a run of a plan may be told besides the plan.

    Args:
        retry_failed: Whether steps that failed before are tried again.
        roll_call_s: Seconds that sites have to answer the first roll call.
        clock: The time.
    """

    retry_failed: bool = False
    roll_call_s: float = ROLL_CALL_S
    clock: Clock = field(default_factory=WallClock)


CONDITIONS = Conditions()


def run_transfer_job(
    grid: Grid, hub: HubConfig, job_id: str, plan: TransferPlan, conditions: Conditions = CONDITIONS
) -> TransferSummary:
    """Run a plan, or go on with it where an earlier run stopped.

    Args:
        grid: Flower's grid.
        hub: The aggregator's configuration.
        job_id: Id of the job.
        plan: The plan.
        conditions: What else there is to say.

    Raises:
        UnknownNameError: If the plan names a task of a site that is not enrolled.
        TransferError: If there is nobody to experiment with.
        ConfigError: If it lets tasks that share images train together.
        StoreError: If the key cannot be read or the catalogue not be written.
    """
    check_addresses(plan, hub.roster)
    check_groups(plan, hub.shared_images.values())
    aggregator = Identity.load_or_create(hub.consortium, hub.key)
    catalogue = Catalogue(hub.catalogue, create=True)
    try:
        with locked(hub.catalogue.folder / _LOCK):
            run = _Run(grid, hub, job_id, plan, conditions, aggregator, catalogue)
            with recorded_job(catalogue, job_id, TRANSFER):
                summary, nodes = run.run()
            Witnessing(grid, aggregator, job_id, hub.roster, catalogue, hub.members).ask(nodes)
            return summary
    finally:
        catalogue.close()


@dataclass(frozen=True)
class _Run:
    """What all parts of a run share; arguments as of ``run_transfer_job``."""

    grid: Grid
    hub: HubConfig
    job_id: str
    plan: TransferPlan
    conditions: Conditions
    aggregator: Identity
    catalogue: Catalogue

    def run(self) -> tuple[TransferSummary, Mapping[str, int]]:
        """Return how the plan ended, and site → the node that answered the roll call for it."""
        present = self._call_the_roll()
        setup, queue = self._begin(present)
        board = self._open_board(setup, queue)
        if not board.courses:
            raise TransferError(
                f"plan {self.plan.name} has no experiment: {len(present.replies)} of {len(self.hub.roster)} "
                "sites answered, and no two of their tasks may serve each other",
                remedy="see that sites run and that their policies have [task.NAME.transfer]",
            )
        self._scheduler(board, queue, present).run()
        outcomes = bridge_outcomes(self.catalogue, queue.findings(), self.plan.name, self.job_id)
        queue.finish_plan()
        return self._summary(queue, present, outcomes), present.nodes

    def _call_the_roll(self) -> RoundResult[RollCallReply]:
        roster = self.hub.roster
        return ask_every_node(
            self._asking(QUERY_ROLL_CALL),
            RollCallRequest,
            lambda record, job: RollCallReply.from_record(record, roster, job),
            deadline=time.time() + self.conditions.roll_call_s,
            expected=roster,
            n_nodes=len(roster),
        )

    def _begin(self, present: RoundResult[RollCallReply]) -> tuple[Setup, Queue]:
        """Decide who serves whom, and store it before anything is asked."""
        known = self._known_plan()
        answered = {
            site: reply.offers if reply.code == ANSWERED else () for site, reply in present.replies.items()
        }
        told = {} if known is None else known.offers.by_site
        enrolled = {site: offers for site, offers in told.items() if site in self.hub.roster}
        offers = Offers(enrolled).updated(answered)
        pairs = self._pairs(offers, () if known is None else known.pairs)
        queue = Queue.begin(self.catalogue, self.plan, offers, pairs)
        queue.stop_running()
        if self.conditions.retry_failed:
            queue.reopen([step.step_id for step in queue.steps() if step.state == FAILED])
        return Setup(self.plan, offers, pairs), queue

    def _known_plan(self) -> KnownPlan | None:
        plan_id = plan_id_of(self.plan)
        return next((known for known in known_plans(self.catalogue) if known.plan_id == plan_id), None)

    def _pairs(self, offers: Offers, chosen: tuple[Pair, ...]) -> tuple[Pair, ...]:
        """Return who serves whom; a target whose sources were chosen before keeps those that still may."""
        apart = kept_apart(self.hub)
        tasks = self._tasks(offers) | {address for pair in chosen for address in pair}
        found = choose_pairs(self.plan, tasks, offers, apart, self._distances())
        if not self.plan.sources_per_target:
            return found
        settled = {target for _, target in chosen}
        new = (pair for pair in found if pair[1] not in settled)
        kept = (pair for pair in chosen if may_serve(*pair, apart))
        return tuple(sorted((*kept, *new), key=lambda pair: (pair[1], pair[0])))

    def _tasks(self, offers: Offers) -> set[str]:
        """Return the addresses of all tasks of enrolled sites: those offered, and those in the catalogue."""
        known = {*offers.addresses, *self.catalogue.listening()}
        try:
            listings = self.catalogue.listings(self.catalogue.latest_space())
        except EmptyCatalogueError:
            listings = []
        known |= {listing.key for listing in listings if listing.current}
        return {address for address in known if site_of(address) in self.hub.roster}

    def _distances(self) -> Distances:
        """Return the catalogue's distances by the hub's choice, none where nothing was fingerprinted."""
        if not self.plan.sources_per_target:
            return {}
        try:
            space = self.catalogue.latest_space()
        except EmptyCatalogueError:
            return {}
        found = matrix.read(self.catalogue, space, distances.chosen(space, self.hub.distance))
        return {
            (source, target): float(found.values[i, j])
            for i, source in enumerate(found.keys)
            for j, target in enumerate(found.keys)
            if i != j and found.values[i, j] == found.values[i, j]  # NaN: not known
        }

    def _open_board(self, setup: Setup, queue: Queue) -> Board:
        """Return what is to be done; steps whose model is lost here are asked for again."""
        board = Board(setup, courses(setup), queue, queue.known())
        board.open()
        lost = self._lost_models(board)
        producers = [
            step.step_id
            for step in queue.steps()
            if step.state == DONE and step.result is not None and step.result.model_id in lost
        ]
        if producers:
            queue.reopen(producers)
            board = Board(setup, courses(setup), queue, queue.known())
            board.open()
        return board

    def _lost_models(self, board: Board) -> set[str]:
        models = ModelFiles.beside(self.catalogue.place)
        needed = {step.model_id for site in board.sites() for step in board.steps_of(site)}
        for average in board.averages():
            needed |= {average.start} | {_model_of(board, average, i) for i in range(len(average.steps))}
        return {model_id for model_id in needed if model_id is not None and not models.has(model_id)}

    def _scheduler(self, board: Board, queue: Queue, present: RoundResult[RollCallReply]) -> Scheduler:
        models = ModelFiles.beside(self.catalogue.place)
        averager = Averager(
            models,
            self.aggregator,
            self.grid,
            self.hub.roster,
            RoundStore.beside(self.hub.catalogue),
            self.job_id,
            max(_SUM_S, _SLICES * self.plan.slice_s),
            self._tell_opened,
        )
        return Scheduler(
            self.plan,
            board,
            queue,
            Post(self._asking(QUERY_TRANSFER), self._asking(QUERY_ROLL_CALL)),
            models,
            averager,
            self.hub.roster,
            {site: Lane(site, present.nodes.get(site)) for site in sorted(self.hub.roster)},
            self.conditions.clock,
        )

    def _tell_opened(self, kept: KeptRound) -> None:
        with self.catalogue.writing() as writer:
            writer.add_event(kinds.ROUND, self.job_id, **told_of_round(kept))

    def _asking(self, message_type: str) -> Asking:
        return Asking(self.grid, self.aggregator, self.job_id, message_type, self.hub.roster)

    def _summary(
        self, queue: Queue, present: RoundResult[RollCallReply], outcomes: Bridged
    ) -> TransferSummary:
        findings = queue.findings()
        reasons = Counter(finding.reason for finding in findings if finding.state == FAILED)
        done = sum(finding.state == DONE for finding in findings)
        absent = tuple(sorted(present.missing))
        summary = TransferSummary(self.plan.name, done, reasons.total(), dict(reasons), absent, outcomes)
        with self.catalogue.writing() as writer:
            writer.add_event(kinds.TRANSFER, self.job_id, **asdict(summary))
            tell_finished(writer, self.job_id, TRANSFER)
        return summary


def _model_of(board: Board, average: Average, i: int) -> str | None:
    answer = board.known.get(average.steps[i].step_id)
    return answer.result.model_id if isinstance(answer, Done) else None
