"""The work on one step, whatever kind it is: it goes on slice by slice, and at last says what it found."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from federation.messages import JobHeader
from federation.transfer.model import TravellingModel
from federation.transfer.result import Progress, StepResult
from federation.transfer.step import Step
from site_agent.data import ImageSource, open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.jobs import Site
from site_agent.policy import TaskPolicy


@dataclass(frozen=True)
class Asked:
    """What a site was asked to work on; its policy allows it.

    Args:
        site: The site.
        policy: What its policy says about the task, read for this request.
        job: Who asks, and until when.
        step: The step.
        dataset: The task's images.
        folder: Where the work keeps what it needs to go on after a crash; only this step writes there.
        start: The model that the step begins at, verified and of the step's own architecture; None where it
            begins at random or published weights.
    """

    site: Site
    policy: TaskPolicy
    job: JobHeader
    step: Step
    dataset: DatasetConfig
    folder: Path
    start: TravellingModel | None = field(default=None, repr=False)

    def source(self) -> ImageSource:
        """Return the task's images, all splits of them unless the site file names one.

        Raises:
            DataError: If they cannot be used.
        """
        if self.dataset.split is not None:
            return open_source(self.dataset)
        return open_source(self.dataset.model_copy(update={"split": "all"}))


class Work(ABC):
    """One step at one site.

    It is opened from ``Asked`` for every slice, goes on where its folder says that it stopped, and is thrown
    away after the slice. The same step gives the same result, however often it was interrupted. It decides
    nothing about what leaves, logs and charges nothing: that is done around it.

    Attributes:
        temporary: Files and folders in ``Asked.folder`` that are removed once the result is kept.
    """

    temporary: ClassVar[tuple[str, ...]] = ("checkpoint.safetensors", "progress.json")

    @abstractmethod
    def advance(self, slice_s: float) -> Progress:
        """Work until the first end of an epoch after ``slice_s`` seconds, make it durable, say how far it is.

        Raises:
            FedprintError: If the step cannot be done; its code is answered for ever, unless it says that
                something here is full, busy or late.
        """

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether nothing is left to do."""

    @abstractmethod
    def result(self) -> tuple[StepResult, bytes]:
        """Return what was found, and the signed model (``TravellingModel.to_bytes``) if one shall leave.

        ``StepResult.model_id`` may stay None: it is set from the bytes where the model leaves.
        """
