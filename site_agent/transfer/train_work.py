"""Training as the work on a step."""

from federation.errors import TrainingError
from federation.transfer.result import Progress, StepResult
from federation.transfer.step import TrainStep
from site_agent.training.checkpoint import CHECKPOINT_FILE, PROGRESS_FILE
from site_agent.training.run import TrainingRun
from site_agent.transfer.lending import lent_to, trained_model
from site_agent.transfer.work import Asked, Work


class TrainWork(Work):
    """Trains and measures; a step that trains with noise measures nothing, since figures have no noise.

    Args:
        asked: The step.

    Raises:
        TrainingError: If it is no step of training.
    """

    temporary = (CHECKPOINT_FILE, PROGRESS_FILE)

    def __init__(self, asked: Asked) -> None:
        if not isinstance(asked.step, TrainStep):
            raise TrainingError(f"a step of kind {asked.step.kind} is no training")
        self._asked, self._step = asked, asked.step
        self._source = asked.source()
        start = None if asked.start is None else asked.start.weights
        self._run = TrainingRun.open(self._source, self._step, start, asked.folder, **lent_to(asked))

    def advance(self, slice_s: float) -> Progress:
        """Train until the first end of an epoch after ``slice_s`` seconds."""
        return self._run.advance(slice_s)

    @property
    def finished(self) -> bool:
        """Whether every epoch is done."""
        return self._run.finished

    def result(self) -> tuple[StepResult, bytes]:
        """Return what was measured, and the signed model if it shall travel."""
        travels = bool(self._step.travels_to)
        return self._measured(), trained_model(self._asked, self._run).to_bytes() if travels else b""

    def _measured(self) -> StepResult:
        epochs = self._step.recipe.epochs
        if self._step.recipe.private is not None:
            return StepResult(n_train=0, n_classes=len(self._source.class_names), epochs=epochs)
        found = self._run.measure(self._step.measure)
        return StepResult(
            scores=dict(found.scores),
            n_train=found.n_train,
            n_measured=found.n_measured,
            n_classes=found.n_classes,
            epochs=epochs,
            notes=found.notes,
        )
