"""One round of training a backbone together with other sites, each with a head of its own.

The site trains its copy of the shared backbone for ``recipe.epochs`` epochs; the learning rate falls over all
rounds together. Head and running statistics of normalisation are its own and stay (`GroupFiles`); the rest
leaves signed, or, in a masked group, only as part of a sum. In the last round nothing leaves: the site trains
once more from the last average, so that its head and statistics fit, and is measured then. Its budget of
epochs is that of training alone.

With noise for patients, every round whose backbone leaves is paid for by itself; the last one is not, as only
figures leave.

Of a masked group the backbone at which the first round begins leaves, in which nothing was trained: the
aggregator adds the average of the sites' updates to it, and sees that all began alike.
"""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

from federation.container import pack, unpack
from federation.errors import FingerprintError, TransferError
from federation.files import read_file, write_atomically
from federation.transfer.averaging import local_part, require_average, shared_part
from federation.transfer.model import Normalization, TravellingModel, Weights
from federation.transfer.result import Progress, StepResult
from federation.transfer.step import CotrainStep
from site_agent.training.run import TrainingRun
from site_agent.transfer.departure import is_settled, recipients
from site_agent.transfer.group_files import GroupFiles, OwnPart
from site_agent.transfer.lending import lent_to
from site_agent.transfer.work import Asked, Work

_START_FILE = "start.safetensors"


class CotrainWork(Work):
    """A round at one site.

    Args:
        asked: The step and what it begins at.

    Raises:
        ModelError: If that is not the average of the round before, signed by who asks.
        TransferError: If the site did not do the round before, or the round cannot be.
    """

    temporary: ClassVar[tuple[str, ...]] = (*Work.temporary, _START_FILE)

    def __init__(self, asked: Asked) -> None:
        if not isinstance(asked.step, CotrainStep):
            raise TransferError(f"a step of kind {asked.step.kind} is no round of common training")
        self._asked, self._step = asked, asked.step
        self._files = GroupFiles.of(asked.site.state.folder, self._step.group, self._step.task)
        _require_possible(self._step)
        before = self._files.own(self._step.round - 1) if self._step.round else None
        self._run = TrainingRun.open(
            asked.source(),
            self._step,
            self._begin(before),
            asked.folder,
            head=None if before is None else before.head,
            **lent_to(asked),
        )
        self._keep_start()

    def advance(self, slice_s: float) -> Progress:
        """Train whole epochs until a slice of time is over; errors as of ``TrainingRun.advance``."""
        return self._run.advance(slice_s)

    @property
    def finished(self) -> bool:
        """Whether the epochs of the round are trained."""
        return self._run.finished

    def result(self) -> tuple[StepResult, bytes]:
        """Keep what is the site's own, and return what was found and what of the backbone leaves.

        Raises:
            StoreError: If the site's own part cannot be kept.
            TrainingError: If a number in the network is not finite, or it cannot be measured.
        """
        kind, trained = self._run.backbone()
        if self._step.masked and not self._is_last:
            self._files.keep_update(self._step, shared_part(trained), self._start)
        if not is_settled(self._asked):  # else this head may be of a second training, which nobody paid for
            self._files.keep_own(self._step, OwnPart(self._run.head(), local_part(trained)))
        return self._found(), self._leaving(kind, shared_part(trained))

    @property
    def _is_last(self) -> bool:
        return self._step.round == self._step.rounds - 1

    def _begin(self, before: OwnPart | None) -> Weights | None:
        """Return the whole state of the backbone at which the round begins."""
        model = self._asked.start
        if model is None or before is None:
            return None
        require_average(model, self._step, self._asked.job.aggregator)
        return {**shared_part(model.weights), **before.statistics}

    def _keep_start(self) -> None:
        """Keep the backbone at which a first masked round begins, while nothing is trained in it yet."""
        if self._step.masked and self._step.round == 0 and self._run.progress.epoch == 0:
            _, state = self._run.backbone()
            write_atomically(self._start_path, pack({"step": self._step.step_id}, shared_part(state)))

    @cached_property
    def _start(self) -> Weights:
        """The shared arrays at which the round began."""
        if self._asked.start is not None:
            return shared_part(self._asked.start.weights)
        try:
            return unpack(read_file(self._start_path, "the start of a round"), str(self._start_path))[1]
        except FingerprintError as error:
            raise TransferError(
                f"{self._start_path} is damaged", remedy="begin the common training anew"
            ) from error

    @property
    def _start_path(self) -> Path:
        return self._asked.folder / _START_FILE

    def _found(self) -> StepResult:
        if not self._is_last:
            run, step = self._run, self._step
            return StepResult(n_train=run.n_train, n_classes=run.n_classes, epochs=step.recipe.epochs)
        measured = self._run.measure(self._step.measure)
        return StepResult(
            scores=dict(measured.scores),
            n_train=measured.n_train,
            n_measured=measured.n_measured,
            n_classes=measured.n_classes,
            epochs=self._step.recipe.epochs,
            notes=measured.notes,
        )

    def _leaving(self, kind: Normalization, trained: Weights) -> bytes:
        if self._is_last or (self._step.masked and self._step.round):
            return b""
        step, weights = self._step, self._start if self._step.masked else trained
        named = (step.network, kind, step.site, step.task, step.step_id)
        model = TravellingModel(*named, weights, travels_to=recipients(step))
        return model.signed(self._asked.site.identity).to_bytes()


def _require_possible(step: CotrainStep) -> None:
    if not step.round < step.rounds:
        raise TransferError(f"round {step.round} of {step.rounds} is none", remedy="count rounds from 0")
    if (step.round > 0) != (step.model_id is not None):
        raise TransferError(
            f"round {step.round} begins at {step.start[:12]}",
            remedy="begin the first round at scratch or imagenet, each later one at an average",
        )
    if step.masked and step.recipe.private is not None:
        raise TransferError(
            "updates that are trained with noise for patients are not summed under masks: nobody would pay",
            remedy="let models with noise leave, or sum updates without it",
        )
