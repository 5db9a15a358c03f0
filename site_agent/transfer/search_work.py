"""The search of an augmentation policy as the work on a step."""

from federation.errors import TrainingError
from federation.transfer.result import Progress, StepResult
from federation.transfer.step import SearchStep
from site_agent.training.search import PolicySearch
from site_agent.transfer.lending import lent_to
from site_agent.transfer.work import Asked, Work


class SearchWork(Work):
    """Searches a policy; what it reached is measured on validation images.

    Args:
        asked: The step.

    Raises:
        TrainingError: If it is no step of a search.
    """

    temporary = ("search.json", "trial")

    def __init__(self, asked: Asked) -> None:
        if not isinstance(asked.step, SearchStep):
            raise TrainingError(f"a step of kind {asked.step.kind} is no search")
        self._source = asked.source()
        start = None if asked.start is None else asked.start.weights
        self._search = PolicySearch.open(self._source, asked.step, start, asked.folder, **lent_to(asked))
        self._epochs = asked.step.recipe.epochs

    def advance(self, slice_s: float) -> Progress:
        """Try policies until the first end of an epoch after ``slice_s`` seconds."""
        return self._search.advance(slice_s)

    @property
    def finished(self) -> bool:
        """Whether the policy is found."""
        return self._search.finished

    def result(self) -> tuple[StepResult, bytes]:
        """Return the policy and what it reached; no model leaves."""
        found = self._search.measurement
        result = StepResult(
            scores=dict(found.scores),
            n_train=found.n_train,
            n_measured=found.n_measured,
            n_classes=found.n_classes,
            epochs=self._epochs,
            augmentation=self._search.policy,
            notes=self._search.notes,
        )
        return result, b""
