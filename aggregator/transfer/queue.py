"""The queue of steps in the catalogue: what is asked of whom, how far it is, and what was found.

Every change is one transaction, so that an aggregator may die between any two of them and goes on from there.
A step is there once, whichever plan asks for it; what is done is done for all plans, what failed has failed
for the plan that asked.
"""

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from aggregator import schema
from aggregator.log.storage import Happening, append
from aggregator.store import Catalogue
from aggregator.transfer.answer import Answer, Done, Failed, Work
from aggregator.transfer.experiment import Experiment, Finding
from aggregator.transfer.offers import Offers
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.setup import Pair
from aggregator.upsert import insert_new, insert_or_replace
from federation.canonical import canonical_json, sha256_hex
from federation.errors import StoreError, UnknownNameError
from federation.log.kinds import STEP
from federation.transfer.messages import Offer
from federation.transfer.result import Progress, Score, StepResult

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
STATES = (WAITING, RUNNING, DONE, FAILED)

_NOT_SAID = ("federation", "slice_s", "deadline_s", "attempts")
_step, _plan, _experiment = schema.transfer_step, schema.transfer_plan, schema.experiment


def plan_id_of(plan: TransferPlan) -> str:
    """Return what identifies a plan: all that its findings depend on, and its name."""
    said = plan.model_dump(mode="json")
    return sha256_hex(canonical_json({key: said[key] for key in said if key not in _NOT_SAID}))


@dataclass(frozen=True)
class KnownPlan:
    """A plan as it was begun.

    Args:
        plan_id: What identifies it.
        plan: The plan.
        began_at: Unix time in seconds at which it was begun, or gone on with, last.
        finished_at: Likewise, of the last run that came to its end; None: none did.
        offers: What every site last said that it takes part in.
        pairs: Source and target of every transfer, as they were chosen.
    """

    plan_id: str
    plan: TransferPlan
    began_at: float
    finished_at: float | None
    offers: Offers
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class QueuedStep:
    """A step in the queue.

    Args:
        step_id: What identifies it.
        site: Who does it; empty: the aggregator.
        content: What it says.
        state: One of ``STATES``.
        attempts: How often it failed for a passing reason since it was last queued.
        progress: How far it is, where a site told.
        result: What was found, where it is done.
        code: Code of the error that ended it, or of the last attempt.
        began_at: Unix time in seconds of the first answer; None before it.
        changed_at: Unix time in seconds of the last change.
    """

    step_id: str
    site: str
    content: Mapping[str, Any]
    state: str
    attempts: int
    progress: Progress | None
    result: StepResult | None
    code: str
    began_at: float | None
    changed_at: float

    @property
    def kind(self) -> str:
        """What kind of work it is."""
        return str(self.content["kind"])

    @property
    def answer(self) -> Answer | None:
        """What became of it; None: nothing yet."""
        if self.state == DONE and self.result is not None:
            return Done(self.result)
        return Failed(self.code, self.site) if self.state == FAILED else None


@dataclass(frozen=True)
class Queue:
    """The queue of a plan.

    Args:
        catalogue: Where it is kept.
        plan_id: The plan.
    """

    catalogue: Catalogue
    plan_id: str

    @classmethod
    def begin(
        cls, catalogue: Catalogue, plan: TransferPlan, offers: Offers, pairs: Sequence[Pair]
    ) -> "Queue":
        """Store a plan before anything of it is asked, or what is new about one that was begun before."""
        plan_id = plan_id_of(plan)
        values = {
            "content": canonical_json(plan.model_dump(mode="json")),
            "offers": canonical_json(_offers_json(offers)),
            "pairs": canonical_json([list(pair) for pair in pairs]),
            "began_at": time.time(),
            "finished_at": None,
        }
        with catalogue.transaction() as connection:
            known = connection.execute(sa.update(_plan).where(_plan.c.plan_id == plan_id).values(values))
            if not known.rowcount:
                row = {"plan_id": plan_id, "name": plan.name, **values}
                connection.execute(sa.insert(_plan).values(row))
        return cls(catalogue, plan_id)

    def known(self) -> dict[str, Answer]:
        """Return step id → answer of all that is done, and of what failed in this plan."""
        settled = sa.or_(
            _step.c.state == DONE, sa.and_(_step.c.state == FAILED, _step.c.plan_id == self.plan_id)
        )
        answers = {step.step_id: step.answer for step in _read_steps(self.catalogue, settled)}
        return {step_id: answer for step_id, answer in answers.items() if answer is not None}

    def add(self, work: Iterable[Work]) -> None:
        """Queue work, unless it is there; what failed in another plan is tried again."""
        now = time.time()
        rows = [
            {
                "step_id": each.step_id,
                "plan_id": self.plan_id,
                "site": each.site,
                "content": canonical_json(each.to_json()),
                "state": WAITING,
                "attempts": 0,
                "code": "",
                "added_at": now,
                "changed_at": now,
            }
            for each in work
        ]
        with self.catalogue.transaction() as connection:
            insert_new(connection, _step, rows)
            for row in rows:
                mine = sa.and_(_step.c.step_id == row["step_id"], _step.c.state != DONE)
                other = sa.and_(mine, _step.c.plan_id != self.plan_id)
                taken = {key: row[key] for key in ("plan_id", "state", "attempts", "code", "changed_at")}
                connection.execute(sa.update(_step).where(other).values(taken))

    def begin_step(self, step_id: str) -> None:
        """Mark that a site was asked for a step."""
        began = sa.func.coalesce(_step.c.began_at, time.time())
        self._change(step_id, state=RUNNING, began_at=began)

    def tell_progress(self, step_id: str, progress: Progress) -> None:
        """Keep how far a step is."""
        said = canonical_json(progress.model_dump(mode="json"))
        self._change(step_id, state=RUNNING, progress=said)

    def put_back(self, step_id: str, code: str, attempts: int) -> None:
        """Let a step wait for its next attempt."""
        self._change(step_id, state=WAITING, code=code, attempts=attempts)

    def finish(self, step_id: str, result: StepResult) -> None:
        """Keep what a step found; its model is in place before."""
        said = canonical_json(result.model_dump(mode="json"))
        told = {"code": DONE, "model": result.model_id or "", "result": sha256_hex(said)}
        self._change(step_id, told, state=DONE, result=said, progress=None, code="")

    def fail(self, step_id: str, code: str) -> None:
        """Give a step up."""
        self._change(step_id, {"code": code}, state=FAILED, code=code)

    def reopen(self, step_ids: Collection[str]) -> None:
        """Let steps that were done or failed wait again."""
        values = {"state": WAITING, "attempts": 0, "code": "", "result": None, "changed_at": time.time()}
        with self.catalogue.transaction() as connection:
            for step_id in sorted(step_ids):
                connection.execute(sa.update(_step).where(_step.c.step_id == step_id).values(values))

    def stop_running(self) -> None:
        """Let steps wait that were running when an aggregator died or ended."""
        running = sa.and_(_step.c.state == RUNNING, _step.c.plan_id == self.plan_id)
        with self.catalogue.transaction() as connection:
            connection.execute(sa.update(_step).where(running).values(state=WAITING))

    def keep_findings(self, findings: Mapping[int, Finding]) -> None:
        """Keep how far experiments are.

        Args:
            findings: Position in the plan → finding.
        """
        rows = [self._row(position, finding) for position, finding in findings.items()]
        if rows:
            with self.catalogue.transaction() as connection:
                insert_or_replace(connection, _experiment, rows)

    def forget_others(self, experiments: Collection[Experiment]) -> None:
        """Remove experiments that the plan does not have any more, such as of a task that left."""
        with self.catalogue.transaction() as connection:
            rows = connection.execute(sa.select(_experiment).where(_experiment.c.plan_id == self.plan_id))
            for gone in {_experiment_of(row) for row in rows} - set(experiments):
                same = [_experiment.c[name] == value for name, value in asdict(gone).items()]
                here = _experiment.c.plan_id == self.plan_id
                connection.execute(sa.delete(_experiment).where(here, *same))

    def finish_plan(self) -> None:
        """Mark that a run of the plan came to its end."""
        mine = _plan.c.plan_id == self.plan_id
        with self.catalogue.transaction() as connection:
            connection.execute(sa.update(_plan).where(mine).values(finished_at=time.time()))

    def findings(self) -> list[Finding]:
        """Return how far every experiment is, in the order of the plan."""
        query = sa.select(_experiment).where(_experiment.c.plan_id == self.plan_id)
        rows = self.catalogue.read(lambda c: c.execute(query.order_by(_experiment.c.position)).all())
        return [_finding(row) for row in rows]

    def steps(self, step_ids: Collection[str] | None = None) -> list[QueuedStep]:
        """Return steps of the plan, or some by id, in the order in which they were queued."""
        wanted = set(step_ids) if step_ids is not None else set(self.step_ids())
        return [step for step in _read_steps(self.catalogue, sa.true()) if step.step_id in wanted]

    def step_ids(self) -> list[str]:
        """Return the ids of all steps that experiments of the plan have asked for, each once."""
        return list(dict.fromkeys(step_id for finding in self.findings() for step_id in finding.steps))

    def _change(self, step_id: str, told: Mapping[str, Any] | None = None, **values: Any) -> None:
        """Change a step, and tell the log what became of it where that is the end of it."""
        this = _step.c.step_id == step_id
        with self.catalogue.transaction() as connection:
            connection.execute(sa.update(_step).where(this).values(changed_at=time.time(), **values))
            if told is not None:
                site = connection.execute(sa.select(_step.c.site).where(this)).scalar() or ""
                where = {"step": step_id, "plan": self.plan_id, "site": site}
                append(connection, [Happening(STEP, "", {**where, **told})])

    def _row(self, position: int, finding: Finding) -> dict[str, Any]:
        scores = {metric: score.model_dump(mode="json") for metric, score in finding.scores.items()}
        return {
            "plan_id": self.plan_id,
            **asdict(finding.experiment),
            "position": position,
            "state": finding.state,
            "reason": finding.reason,
            "scores": canonical_json(scores),
            "baseline": canonical_json(dict(finding.baseline)),
            "seconds": finding.seconds,
            "steps": canonical_json(list(finding.steps)),
        }


def known_plans(catalogue: Catalogue) -> list[KnownPlan]:
    """Return every plan that was begun, the latest last."""
    rows = catalogue.read(lambda c: c.execute(sa.select(_plan).order_by(_plan.c.began_at)).all())
    return [_known_plan(row) for row in rows]


def find_plan(catalogue: Catalogue, name: str = "") -> KnownPlan:
    """Return the plan of a name that was begun last, by default of any.

    Raises:
        UnknownNameError: If there is none.
    """
    plans = known_plans(catalogue)
    found = [known for known in plans if name in ("", known.plan.name)]
    if not found:
        named = ", ".join(sorted({known.plan.name for known in plans}))
        raise UnknownNameError(
            f"catalogue {catalogue.place} knows no transfer plan {name}".rstrip(),
            remedy=f"choose from: {named}" if named else "run one with `fedprint transfer run`",
        )
    return found[-1]


def _read_steps(catalogue: Catalogue, wanted: sa.ColumnElement[bool]) -> list[QueuedStep]:
    query = sa.select(_step).where(wanted).order_by(_step.c.added_at, _step.c.step_id)
    rows = catalogue.read(lambda c: c.execute(query).all())
    return [_queued_step(row) for row in rows]


def _queued_step(row: sa.Row[Any]) -> QueuedStep:
    try:
        return QueuedStep(
            row.step_id,
            row.site,
            json.loads(row.content),
            row.state,
            row.attempts,
            None if row.progress is None else Progress.model_validate_json(row.progress),
            None if row.result is None else StepResult.model_validate_json(row.result),
            row.code,
            row.began_at,
            row.changed_at,
        )
    except ValueError as error:
        raise StoreError(
            f"step {row.step_id[:12]} in the catalogue is damaged", remedy="restore it from a backup"
        ) from error


def _known_plan(row: sa.Row[Any]) -> KnownPlan:
    return KnownPlan(
        row.plan_id,
        TransferPlan.model_validate_json(row.content),
        row.began_at,
        row.finished_at,
        _offers_of(json.loads(row.offers)),
        tuple((source, target) for source, target in json.loads(row.pairs)),
    )


def _experiment_of(row: sa.Row[Any]) -> Experiment:
    return Experiment(row.scenario, row.arm, row.source, row.target, row.seed, row.n_train)


def _finding(row: sa.Row[Any]) -> Finding:
    scores = {metric: Score.model_validate(score) for metric, score in json.loads(row.scores).items()}
    return Finding(
        _experiment_of(row),
        row.state,
        row.reason,
        scores,
        json.loads(row.baseline),
        row.seconds,
        tuple(json.loads(row.steps)),
    )


def _offers_json(offers: Offers) -> dict[str, Any]:
    return {site: [asdict(offer) for offer in found] for site, found in offers.by_site.items()}


def _offers_of(table: Mapping[str, Any]) -> Offers:
    return Offers({site: tuple(_offer(offer) for offer in found) for site, found in table.items()})


def _offer(table: Mapping[str, Any]) -> Offer:
    lists = {name: tuple(table[name]) for name in ("models_to", "networks")}
    return Offer(**{**table, **lists})
