"""Searches an augmentation policy with few images and little time: candidates compete on validation images.

All train the same network from the same start, with the same draws, and are ranked by cross-entropy and AUROC
on the validation part; the test part is never touched. The field is thinned by successive halving (Jamieson and
Talwalkar 2016): many get a third of the recipe's epochs (or a ninth, …), a third of them get three times as
many. The plain policy stays in to the end, so what wins is never worse than it on the validation images. At last
the best few compete together, as one policy of several chains, against the best alone.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from federation.errors import StoreError, TrainingError
from federation.files import read_file, write_atomically
from federation.transfer.augmentation import AugmentationPolicy
from federation.transfer.model import Weights
from federation.transfer.recipe import Strict
from federation.transfer.result import AUROC, CROSS_ENTROPY, Progress, Score
from federation.transfer.step import SearchStep, TrainStep
from site_agent.data.source import ImageSource
from site_agent.training.augmentation import PLAIN
from site_agent.training.candidates import candidates, combined
from site_agent.training.run import TrainingRun

_THINNING = 3
_FEWEST_EPOCHS = 2
_COMBINED = 3
_FEW_IMAGES = 50

Start = Callable[[TrainStep, Path], TrainingRun]


class Trial(Strict):
    """What one candidate reached on the validation images.

    Args:
        scores: Metric → score; empty where its training failed.
        n_train: Training images used.
        n_measured: Validation images.
        n_classes: Number of classes.
    """

    scores: dict[str, Score] = Field(default_factory=dict)
    n_train: int = 0
    n_measured: int = 0
    n_classes: int = 0


class _State(Strict):
    step_id: str
    trials: dict[str, Trial]


@dataclass(frozen=True)
class Rung:
    """A stage of the search.

    Args:
        size: How many candidates take part.
        epochs: How long each is trained.
    """

    size: int
    epochs: int


def rungs(n: int, epochs: int) -> tuple[Rung, ...]:
    """Return the stages of a search among ``n`` candidates whose finalists are trained for ``epochs``."""
    stages = [Rung(n, epochs)]
    while (fewer := -(-stages[-1].size // _THINNING)) > 1 and _third(stages[0].epochs) >= _FEWEST_EPOCHS:
        stages = [*(Rung(stage.size, _third(stage.epochs)) for stage in stages), Rung(fewer, epochs)]
    return tuple(stages)


def _third(epochs: int) -> int:
    return round(epochs / _THINNING)


class PolicySearch:
    """A search at one task; it goes on, trial by trial, where its folder says that it stopped.

    What is tried next follows from the step and from the trials so far alone, so an interrupted search finds
    what an uninterrupted one finds.

    Args:
        step: What is searched.
        folder: Where finished trials are kept, and the running one keeps its checkpoint.
        begin: Opens the training of a trial in a folder.
    """

    def __init__(self, step: SearchStep, folder: Path, begin: Begin) -> None:
        self._step = step
        self._folder = folder
        self._begin = begin
        self._rungs = rungs(step.candidates, step.recipe.epochs)
        self._trials = _read(folder / _STATE, step)

    @classmethod
    def open(
        cls,
        source: ImageSource,
        step: SearchStep,
        start: Weights | None,
        folder: Path,
        *,
        pretrained: PretrainedWeights,
        device: str = "auto",
    ) -> Self:
        """Begin a search, or go on with it.

        Args:
            source: The task's images, all splits of them.
            step: What is searched.
            start: Weights that every trial begins at; None where ``step.start`` names no model.
            folder: Where the search keeps its state; only this step writes there.
            pretrained: The site's own copies of published weights.
            device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

        Raises:
            TrainingError: If the step asks for a private search.
            StoreError: If the folder holds another search or a damaged one.
        """
        if step.recipe.private is not None:
            raise TrainingError(
                "an augmentation policy is searched with private training, which measures nothing",
                remedy="leave out the recipe's private training, or the scenario",
            )

        def begin(trial: TrainStep, place: Path) -> TrainingRun:
            return TrainingRun.open(source, trial, start, place, pretrained=pretrained, device=device)

        return cls(step, folder, begin)

    def advance(self, slice_s: float) -> Progress:
        """Go on until the first end of an epoch after ``slice_s`` seconds; what was done is durable then.

        Raises:
            TrainingError: If the plain policy cannot be trained or measured; a candidate that fails is only
                ranked last.
            MemoryShortError: If the network and its batches do not fit in memory.
        """
        until = time.monotonic() + slice_s
        running = None
        while (trial := self._next()) is not None:
            running = self._work_on(trial, max(0.0, until - time.monotonic()))
            if time.monotonic() >= until:
                break
        return self._progress(running)

    @property
    def finished(self) -> bool:
        """Whether the policy is found."""
        return self._next() is None

    @property
    def policy(self) -> AugmentationPolicy:
        """The best policy; only once the search is finished."""
        return self._winner.model_copy(update={"origin": self._origin()})

    @property
    def measurement(self) -> Trial:
        """What the best policy reached on the validation images; only once the search is finished."""
        return self._trial_of(self._winner)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the policy should know; only once the search is finished."""
        return tuple(self._remarks())

    def _next(self) -> TrainStep | None:
        return next((trial for trial in self._course() if trial.step_id not in self._trials), None)

    def _course(self) -> Iterator[TrainStep]:
        """Yield the trials in order; whoever goes on must know the results of all that were yielded."""
        field: Sequence[AugmentationPolicy] = candidates(self._step.candidates, self._step.seed)
        for rung in self._rungs:
            field = _thinned(field, rung.size)
            yield from (self._step_of(policy, rung.epochs) for policy in field)
            field = self._ranked(field, rung.epochs)
        if len(field) > 1:
            yield self._step_of(combined(tuple(field[:_COMBINED])))

    @property
    def _finalists(self) -> list[AugmentationPolicy]:
        """Policies that were trained for all epochs, best first, without the combination."""
        tried = [trial.augmentation for trial in self._course() if trial.recipe == self._step.recipe]
        alone = [policy for policy in tried if policy is not None and len(policy.chains) == 1]
        return self._ranked(alone)

    @property
    def _winner(self) -> AugmentationPolicy:
        finalists = self._finalists
        if len(finalists) == 1:
            return finalists[0]
        return self._ranked([finalists[0], combined(tuple(finalists[:_COMBINED]))])[0]

    def _ranked(
        self, field: Sequence[AugmentationPolicy], epochs: int | None = None
    ) -> list[AugmentationPolicy]:
        """Return those that could be trained, best first: by the sum of both ranks, then by cross-entropy."""
        scores = {policy: self._trial_of(policy, epochs).scores for policy in field}
        trained = [policy for policy in field if scores[policy]]
        losses = {policy: scores[policy][CROSS_ENTROPY].value for policy in trained}
        aurocs = {policy: -scores[policy][AUROC].value for policy in trained}
        return sorted(trained, key=lambda p: (_rank(p, losses) + _rank(p, aurocs), losses[p]))

    def _step_of(self, policy: AugmentationPolicy, epochs: int | None = None) -> TrainStep:
        step = self._step
        recipe = step.recipe.model_copy(update={"epochs": epochs or step.recipe.epochs})
        return TrainStep(
            site=step.site,
            task=step.task,
            network=step.network,
            recipe=recipe,
            start=step.start,
            n_train=step.n_train,
            seed=step.seed,
            augmentation=policy,
            measure="validation",
        )

    def _trial_of(self, policy: AugmentationPolicy, epochs: int | None = None) -> Trial:
        return self._trials[self._step_of(policy, epochs).step_id]

    def _work_on(self, trial: TrainStep, slice_s: float) -> Progress | None:
        """Train one candidate for a slice, and measure it where that finishes it."""
        try:
            run = self._begin(trial, self._folder / _RUNNING / trial.step_id)
            progress = run.advance(slice_s)
            if not run.finished:
                return progress
            found = Trial.of(run.measure("validation"))
        except TrainingError:
            if trial.augmentation == PLAIN:
                raise
            found = Trial()
        self._keep(trial, found)
        return None

    def _keep(self, trial: TrainStep, found: Trial) -> None:
        self._trials[trial.step_id] = found
        state = _State(step_id=self._step.step_id, trials=self._trials)
        write_atomically(self._folder / _STATE, state.model_dump_json(indent=1).encode())
        shutil.rmtree(self._folder / _RUNNING, ignore_errors=True)

    def _progress(self, running: Progress | None) -> Progress:
        epochs = sum(rung.size * rung.epochs for rung in self._rungs)
        epochs += self._step.recipe.epochs if self._rungs[-1].size > 1 else 0
        if self.finished:
            return Progress(epoch=epochs, epochs=epochs)
        done = sum(trial.recipe.epochs for trial in self._course_so_far())
        return Progress(
            epoch=done + (running.epoch if running else 0),
            epochs=epochs,
            loss=running.loss if running else None,
        )

    def _course_so_far(self) -> Iterator[TrainStep]:
        return takewhile(lambda trial: trial.step_id in self._trials, self._course())

    def _origin(self) -> str:
        step = self._step
        return f"searched on {step.address}: best of {step.candidates} candidates, seed {step.seed}"[:200]

    def _remarks(self) -> Iterator[str]:
        best, plain = self.measurement, self._trial_of(PLAIN)
        yield (
            f"augmentation: {describe(self._winner)}"[:_LONGEST_NOTE]
        )
        yield (
            f"on {best.n_measured} validation images cross-entropy {_shown(best, CROSS_ENTROPY)} and AUROC "
            f"{_shown(best, AUROC)}, with the plain policy {_shown(plain, CROSS_ENTROPY)} and {_shown(plain, AUROC)}"
        )
        failed = sum(not trial.scores for trial in self._trials.values())
        if failed:
            yield f"{failed} of {len(self._trials)} trainings of candidates failed and were ranked last"
        if best.n_measured < _FEW_IMAGES:
            yield f"with fewer than {_FEW_IMAGES} validation images the choice among candidates is mostly chance"
