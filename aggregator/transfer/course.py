"""The course of an experiment: what is to be done next, given what is known.

A scenario is written as a generator: it yields the work it needs, gets the answers, and in the end returns
the result at the target. Run again over the same answers it asks for the same work, so none of it is stored.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from aggregator.transfer.answer import Answer, Done, Failed, Work
from aggregator.transfer.experiment import Experiment, Finding, State
from federation.transfer.result import StepResult

Script: TypeAlias = Generator[tuple[Work, ...], tuple[Answer, ...], StepResult]


class StoppedError(Exception):
    """An experiment cannot go on.

    Args:
        failed: Why, and where.
    """

    def __init__(self, failed: Failed) -> None:
        super().__init__(str(failed))
        self.failed = failed


def result_of(answer: Answer) -> StepResult:
    """Return what was found; raise StoppedError where nothing was."""
    if isinstance(answer, Failed):
        raise StoppedError(answer)
    return answer.result


def done(work: Work) -> Script:
    """Ask for one piece of work that the experiment cannot do without, and return what it found."""
    (answer,) = yield (work,)
    return result_of(answer)


@dataclass
class Course:
    """One experiment under way.

    Args:
        experiment: The experiment.
        script: Its scenario.
        obstacle: Why it may not take place, unless all that it needs is known already; None: it may.
    """

    experiment: Experiment
    script: Script
    obstacle: Failed | None = None
    asked: dict[str, Work] = field(default_factory=dict)
    results: list[StepResult] = field(default_factory=list)
    result: StepResult | None = None
    failed: Failed | None = None
    _turn: tuple[Work, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether it is done or failed."""
        return self.result is not None or self.failed is not None

    def advance(self, known: Mapping[str, Answer]) -> tuple[Work, ...]:
        """Go on as far as answers are known, and return the work that is missing then.

        Args:
            known: Step id → answer.
        """
        if not self.asked and not self.ended:
            self._resume(None)
        while not self.ended:
            missing = tuple(work for work in self._turn if work.step_id not in known)
            if missing and self.obstacle:
                self.failed = self.obstacle
            elif missing:
                return missing
            else:
                self._resume(tuple(known[work.step_id] for work in self._turn))
        return ()

    def finding(self, running: bool, baseline: Mapping[str, float]) -> Finding:
        """Return how far it is.

        Args:
            running: Whether a site works on a step of it now.
            baseline: Metric → the target's value without transfer.
        """
        state: State = "done" if self.result else "failed" if self.failed else "waiting"
        return Finding(
            self.experiment,
            "running" if state == "waiting" and (running or self.results) else state,
            str(self.failed) if self.failed else "",
            dict(self.result.scores) if self.result else {},
            baseline,
            sum(result.seconds for result in self.results),
            tuple(self.asked),
        )

    def _resume(self, answers: tuple[Answer, ...] | None) -> None:
        self.results += [answer.result for answer in answers or () if isinstance(answer, Done)]
        try:
            self._turn = next(self.script) if answers is None else self.script.send(answers)
            self.asked |= {work.step_id: work for work in self._turn}
        except StopIteration as stopped:
            self.result = stopped.value
        except StoppedError as stopped:
            self.failed = stopped.failed
