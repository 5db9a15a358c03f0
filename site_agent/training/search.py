"""Searches an augmentation policy with few images and little time: candidates compete on validation images.

All train the step's network from its start, with the same order of images, and are judged by cross-entropy
and AUROC on the validation part. The test part is never touched. Who is trained for how long is in
``tournament``.
"""

import shutil
import time
from collections.abc import Callable, Iterator
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
from site_agent.data import ImageSource
from site_agent.training import IMAGES_FOLDER
from site_agent.training.augmentation import PLAIN
from site_agent.training.candidates import candidates
from site_agent.training.metrics import Measurement
from site_agent.training.networks import PretrainedWeights
from site_agent.training.run import Device, TrainingRun
from site_agent.training.tournament import Entry, Merit, Tournament

_STATE, _RUNNING = "search.json", "trial"
_FEW_IMAGES = 50

Begin = Callable[[TrainStep, Path], TrainingRun]
"""Opens the training of a trial in a folder."""


class Trial(Strict):
    """What one candidate reached on the validation images.

    Args:
        policy: The candidate.
        epochs: How long it was trained.
        scores: Metric → score; empty where its training failed.
        n_measured: Validation images.
        n_classes: Number of classes.
        n_train: Training images used.
        notes: What a reader of the figures should know.
    """

    policy: AugmentationPolicy
    epochs: int
    scores: dict[str, Score] = Field(default_factory=dict)
    n_measured: int = 0
    n_classes: int = 0
    n_train: int = 0
    notes: tuple[str, ...] = Field((), strict=False)

    @property
    def measurement(self) -> Measurement:
        """What was measured, as training gives it."""
        return Measurement(self.scores, self.n_measured, self.n_classes, self.n_train, self.notes)

    @property
    def merit(self) -> Merit | None:
        """What decides; None where the training failed."""
        return Merit(self.scores[CROSS_ENTROPY].value, self.scores[AUROC].value) if self.scores else None


class _State(Strict):
    step_id: str
    trials: tuple[Trial, ...] = Field(strict=False)


class PolicySearch:
    """A search at one task; it goes on, trial by trial, where its folder says that it stopped.

    What is tried next follows from the step and from the trials so far alone, so an interrupted search finds
    what an uninterrupted one finds.

    Args:
        step: What is searched.
        folder: Where finished trials are kept, and the running one keeps its checkpoint.
        begin: Opens the training of a trial.
    """

    def __init__(self, step: SearchStep, folder: Path, begin: Begin) -> None:
        self._step = step
        self._folder = folder
        self._begin = begin
        self._tournament = Tournament(candidates(step.candidates, step.seed), step.recipe.epochs)
        self._trials = {Entry(trial.policy, trial.epochs): trial for trial in _kept(folder / _STATE, step)}

    @classmethod
    def open(
        cls,
        source: ImageSource,
        step: SearchStep,
        start: Weights | None,
        folder: Path,
        *,
        pretrained: PretrainedWeights,
        device: Device = "auto",
        images: Path | None = None,
        max_unreadable: float = 0.2,
    ) -> Self:
        """Begin a search, or go on with it.

        Args:
            source: The task's images, all splits of them.
            step: What is searched.
            start: Weights that every trial begins at; None where ``step.start`` names no model.
            folder: Where the search keeps its state; only this step writes there.
            pretrained: The site's own copies of published weights.
            device: Where to train; ``"auto"`` is CUDA if there is one.
            images: Where decoded images are kept for all steps; None: in ``folder``.
            max_unreadable: Largest share of images that may be unreadable.

        Raises:
            TrainingError: If the step asks for training that no augmentation can be judged by.
            StoreError: If the folder holds another search or a damaged one.
        """
        _require_judgement(step)

        def begin(trial: TrainStep, place: Path) -> TrainingRun:
            return TrainingRun.open(
                source,
                trial,
                start,
                place,
                pretrained=pretrained,
                device=device,
                images=images or folder / IMAGES_FOLDER,
                max_unreadable=max_unreadable,
            )

        return cls(step, folder, begin)

    def advance(self, slice_s: float) -> Progress:
        """Go on until the first end of an epoch after ``slice_s`` seconds; what was done is durable then.

        Raises:
            TrainingError: If the plain policy cannot be trained or measured. A candidate that fails is only
                ranked last.
            MemoryShortError: If the network and its batches do not fit in memory.
        """
        until = time.monotonic() + slice_s
        running = None
        while (entry := self._tournament.next(self._merits)) is not None:
            running = self._work_on(entry, max(0.0, until - time.monotonic()))
            if running is not None or time.monotonic() >= until:
                break
        return self._progress(running)

    @property
    def finished(self) -> bool:
        """Whether the policy is found."""
        return self._tournament.next(self._merits) is None

    @property
    def policy(self) -> AugmentationPolicy:
        """The best policy; only once the search is finished."""
        return self._winner.model_copy(update={"origin": self._origin()})

    @property
    def measurement(self) -> Measurement:
        """What the best policy reached on the validation images; only once the search is finished."""
        return self._final(self._winner).measurement

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the policy should know; only once the search is finished."""
        return tuple(self._remarks())

    @property
    def _winner(self) -> AugmentationPolicy:
        return self._tournament.winner(self._merits)

    @property
    def _merits(self) -> dict[Entry, Merit | None]:
        return {entry: trial.merit for entry, trial in self._trials.items()}

    def _final(self, policy: AugmentationPolicy) -> Trial:
        return self._trials[Entry(policy, self._step.recipe.epochs)]

    def _work_on(self, entry: Entry, slice_s: float) -> Progress | None:
        """Train a candidate for a slice, and measure it where that finishes it; else return its progress."""
        try:
            run = self._begin(self._step_of(entry), self._folder / _RUNNING)
            progress = run.advance(slice_s)
            if not run.finished:
                return progress
            self._keep(_trial(entry, run.measure("validation")))
        except TrainingError:
            # What the plain policy cannot do, no other could, and nothing would be left to compare with.
            if entry.policy == PLAIN:
                raise
            self._keep(Trial(policy=entry.policy, epochs=entry.epochs))
        return None

    def _keep(self, trial: Trial) -> None:
        """Make a trial durable and clear the place of the next one.

        The place is cleared first: a crash between both costs one training, never mixes two.
        """
        shutil.rmtree(self._folder / _RUNNING, ignore_errors=True)
        self._trials[Entry(trial.policy, trial.epochs)] = trial
        state = _State(step_id=self._step.step_id, trials=tuple(self._trials.values()))
        write_atomically(self._folder / _STATE, state.model_dump_json(indent=1).encode())

    def _progress(self, running: Progress | None) -> Progress:
        total = self._tournament.total_epochs
        if self.finished:
            return Progress(epoch=total, epochs=total)
        done = sum(entry.epochs for entry in self._tournament.done(self._merits))
        if running is None:
            return Progress(epoch=done, epochs=total)
        return Progress(epoch=done + running.epoch, epochs=total, loss=running.loss)

    def _step_of(self, entry: Entry) -> TrainStep:
        step = self._step
        return TrainStep(
            site=step.site,
            task=step.task,
            network=step.network,
            recipe=step.recipe.model_copy(update={"epochs": entry.epochs}),
            start=step.start,
            n_train=step.n_train,
            seed=step.seed,
            augmentation=entry.policy,
            measure="validation",
        )

    def _origin(self) -> str:
        step = self._step
        return f"searched at {step.address}: best of {step.candidates}, seed {step.seed}"[:200]

    def _remarks(self) -> Iterator[str]:
        best, plain = self._final(self._winner), self._final(PLAIN)
        yield (
            f"on {best.n_measured} validation images the policy found reaches {_figures(best)}, "
            f"the plain one {_figures(plain)}"
        )
        failed = sum(not trial.scores for trial in self._trials.values())
        if failed:
            yield f"{failed} of {len(self._trials)} trainings of candidates failed and were ranked last"
        if best.n_measured < _FEW_IMAGES:
            yield f"with fewer than {_FEW_IMAGES} validation images the choice of a policy is largely chance"
        yield from best.notes


def _require_judgement(step: SearchStep) -> None:
    why = "with noise for patients, which measures no candidate" if step.recipe.private else ""
    if step.recipe.trainable == "head":
        why = "only a head over frozen features, which augmentation does not reach"
    if why:
        raise TrainingError(
            f"the search of augmentation at {step.address} trains {why}",
            remedy="let it train everything, without noise",
        )


def _trial(entry: Entry, found: Measurement) -> Trial:
    return Trial(
        policy=entry.policy,
        epochs=entry.epochs,
        scores=dict(found.scores),
        n_measured=found.n_measured,
        n_classes=found.n_classes,
        n_train=found.n_train,
        notes=found.notes,
    )


def _figures(trial: Trial) -> str:
    scores = trial.scores
    return f"cross-entropy {scores[CROSS_ENTROPY].value:.3f} and AUROC {scores[AUROC].value:.3f}"


def _kept(path: Path, step: SearchStep) -> tuple[Trial, ...]:
    """Return the trials that are done.

    Raises:
        StoreError: If they cannot be read, or are of another search.
    """
    if not path.exists():
        return ()
    try:
        state = _State.model_validate_json(read_file(path, "the state of a search"))
    except ValidationError as error:
        raise StoreError(f"{path} is damaged", remedy="delete it; the search then begins anew") from error
    if state.step_id != step.step_id:
        raise StoreError(
            f"{path} belongs to the search {state.step_id[:12]}, expected {step.step_id[:12]}",
            remedy="give every step a folder of its own",
        )
    return state.trials
