"""The board: which work experiments wait for, and what every answer lets them do next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from aggregator.transfer.answer import HUB, Answer, Average, Work
from aggregator.transfer.compile import BASELINE
from aggregator.transfer.course import Course
from aggregator.transfer.experiment import Experiment, Finding
from aggregator.transfer.queue import Queue
from aggregator.transfer.setup import Setup
from federation.errors import ExtractorError
from federation.transfer.step import IMAGENET, SCRATCH, Step

_Repetition = tuple[str, int]


@dataclass
class Board:
    """The courses of a plan over its queue; what it says is in the queue before anybody else hears it.

    Args:
        setup: The plan, what policies allow, and who serves whom.
        courses: Its experiments, in order.
        queue: Where everything is kept.
        known: Step id → answer.
        working: Ids of steps that a site works on now.
    """

    setup: Setup
    courses: Sequence[Course]
    queue: Queue
    known: dict[str, Answer]
    working: set[str] = field(default_factory=set)
    _work: dict[str, Work] = field(default_factory=dict)
    _waiting: dict[str, set[int]] = field(default_factory=dict)

    def open(self) -> None:
        """Bring all experiments as far as what is known allows."""
        self.queue.forget_others([course.experiment for course in self.courses])
        self._advance(range(len(self.courses)))
        self._keep(range(len(self.courses)))

    @property
    def ended(self) -> bool:
        """Whether nothing is waited for."""
        return not self._waiting

    def sites(self) -> set[str]:
        """Return the sites that have something to do."""
        return {self._work[step_id].site for step_id in self._waiting} - {HUB}

    def steps_of(self, site: str) -> list[Step]:
        """Return what a site has to do: baselines first, then what most experiments wait for."""
        found = [self._work[step_id] for step_id in self._waiting if self._work[step_id].site == site]
        steps = [work for work in found if not isinstance(work, Average)]
        return sorted(steps, key=lambda step: self._urgency(self._waiting[step.step_id]))

    def _urgency(self, waiting: set[int]) -> tuple[bool, int]:
        first = self.courses[min(waiting)].experiment
        return first.scenario != BASELINE, -len(waiting)

    def averages(self) -> list[Average]:
        """Return what the aggregator has to do."""
        works = [self._work[step_id] for step_id in self._waiting]
        return [work for work in works if isinstance(work, Average)]

    def wants(self, step_id: str) -> bool:
        """Return whether any experiment still waits for a step."""
        return step_id in self._waiting

    def begin(self, step_id: str) -> None:
        """Show that a site works on a step."""
        if step_id not in self.working:
            self.working.add(step_id)
            self._keep(self._waiting.get(step_id, ()))

    def tell(self, step_id: str, answer: Answer) -> None:
        """Let experiments go on after an answer that is in the queue."""
        self.known[step_id] = answer
        self.working.discard(step_id)
        told = self._waiting.pop(step_id, set())
        self._advance(sorted(told))
        self._keep(told)

    def findings(self) -> list[Finding]:
        """Return how far every experiment is."""
        return [self._finding(position) for position in range(len(self.courses))]

    def _advance(self, positions: Iterable[int]) -> None:
        """Let experiments go on until all they wait for is nobody's yet; then it is in the queue."""
        added: list[Work] = []
        for position in positions:
            added += self._advance_one(position)
        self.queue.add({work.step_id: work for work in added}.values())

    def _advance_one(self, position: int) -> list[Work]:
        course = self.courses[position]
        while True:
            missing = course.advance(self.known)
            forbidden = self._forbidden(missing)
            if not forbidden:
                break
            self.known |= forbidden
        self._forget(position)
        for work in missing:
            self._work[work.step_id] = work
            self._waiting.setdefault(work.step_id, set()).add(position)
        return list(missing)

    def _forbidden(self, missing: Iterable[Work]) -> dict[str, Answer]:
        """Return the answers to steps that policies forbid; they are not stored, policies may change."""
        found = {
            work.step_id: self.setup.offers.obstacle(work)
            for work in missing
            if not isinstance(work, Average)
        }
        return {step_id: obstacle for step_id, obstacle in found.items() if obstacle is not None}

    def _forget(self, position: int) -> None:
        for step_id in self.courses[position].asked:
            waiting = self._waiting.get(step_id, set())
            waiting.discard(position)
            if not waiting:
                self._waiting.pop(step_id, None)

    def _keep(self, positions: Iterable[int]) -> None:
        """Store experiments; a baseline also those that are compared with it."""
        changed = set(positions)
        repetitions = {
            _repetition(self.courses[position].experiment)
            for position in changed
            if self.courses[position].experiment.scenario == BASELINE
        }
        if repetitions:
            changed |= {
                position
                for position, course in enumerate(self.courses)
                if _repetition(course.experiment) in repetitions
            }
        self.queue.keep_findings({position: self._finding(position) for position in sorted(changed)})

    def _finding(self, position: int) -> Finding:
        course = self.courses[position]
        running = any(step_id in self.working for step_id in course.asked)
        return course.finding(running, self._baseline(course.experiment))

    def _baseline(self, experiment: Experiment) -> dict[str, float]:
        if experiment.scenario == BASELINE:
            return {}
        arm = self.setup.plan.arm_without(experiment.scenario)
        course = self._baselines.get((*_repetition(experiment), arm))
        if arm == IMAGENET and course is not None and _lacks_weights(course):
            course = self._baselines.get((*_repetition(experiment), SCRATCH))
        if course is None or course.result is None:
            return {}
        return {metric: score.value for metric, score in course.result.scores.items()}

    @cached_property
    def _baselines(self) -> dict[tuple[str, int, str], Course]:
        without = (course for course in self.courses if course.experiment.scenario == BASELINE)
        return {(*_repetition(course.experiment), course.experiment.arm): course for course in without}


def _lacks_weights(course: Course) -> bool:
    """Return whether a target has no published weights: then random ones are all that it could begin at.

    After any other failure nobody knows what it would have reached, and random ones would flatter transfer.
    """
    return course.failed is not None and course.failed.code == ExtractorError.code


def _repetition(experiment: Experiment) -> _Repetition:
    return experiment.target, experiment.seed
