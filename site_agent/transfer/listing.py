"""What transfer experiments did at a site, for the people there."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from federation.messages import DONE
from federation.transfer.messages import RUNNING
from site_agent.config import SiteConfig
from site_agent.events import MODEL_LEFT
from site_agent.state import SiteState
from site_agent.transfer.step_files import Ended, Running, SiteSteps, StepFiles

_SHOWN = 12  # digits of an id


@dataclass(frozen=True)
class ListedStep:
    """One step that the site was asked for.

    Args:
        step: Id of the step.
        kind: ``"train"``, ``"search"`` or ``"cotrain"``.
        task: The task.
        network: What is trained.
        job: The job that began it.
        began: Unix time in seconds.
        state: ``"running"``, ``"done"``, or the code of the error that ended it.
        epoch: Epochs done.
        epochs: Epochs to do.
        scores: Metric → value, where it is done.
        model: Id of its model, where one left or can be begun at here.
        left_to: Sites that the model left for.
        text: What the error said.
    """

    step: str
    kind: str
    task: str
    network: str
    job: str
    began: float
    state: str
    epoch: int
    epochs: int
    scores: Mapping[str, float]
    model: str | None = None
    left_to: tuple[str, ...] = ()
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def list_transfers(config: Path) -> list[ListedStep]:
    """Return every step that a site was asked for and has begun, in the order in which they began.

    Raises:
        ConfigError: If the site file is wrong.
        StoreError: If what is kept of a step is damaged.
    """
    state = SiteState(SiteConfig.read(config).state)
    left = _left(state.events())
    listed = (_listed(files, left) for files in SiteSteps(state.folder).all())
    return sorted((one for one in listed if one is not None), key=lambda one: (one.began, one.step))


def table(found: Iterable[ListedStep]) -> Table:
    """Return steps as a table for people."""
    shown = Table("began", "step", "kind", "task", "network", "state", "epoch", "scores", "model left to")
    for one in found:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in one.scores.items())
        shown.add_row(
            datetime.fromtimestamp(one.began, UTC).strftime("%Y-%m-%d %H:%M"),
            one.step[:_SHOWN],
            one.kind,
            one.task,
            one.network,
            one.state,
            f"{one.epoch}/{one.epochs}",
            scores or one.text,
            ", ".join(one.left_to),
        )
    return shown


def _listed(files: StepFiles, left: Mapping[str, set[str]]) -> ListedStep | None:
    known = files.ended() or files.running()
    if known is None:
        return None
    step = known.step
    return ListedStep(
        step.step_id,
        step.kind,
        step.task,
        f"{step.network.library}:{step.network}",
        known.job_id,
        known.began,
        **_how(known),
        left_to=tuple(sorted(left[step.step_id])),
    )


def _how(known: Running | Ended) -> dict[str, Any]:
    """Return how far a step is, or how it ended."""
    epochs = known.step.recipe.epochs
    if isinstance(known, Running):
        progress = known.progress
        epoch, epochs = (0, epochs) if progress is None else (progress.epoch, progress.epochs)
        return {"state": RUNNING, "epoch": epoch, "epochs": epochs, "scores": {}}
    if known.result is None:
        return {"state": known.code, "epoch": 0, "epochs": epochs, "scores": {}, "text": known.text}
    scores = {name: score.value for name, score in known.result.scores.items()}
    told = {"epoch": known.result.epochs, "epochs": known.result.epochs, "model": known.result.model_id}
    return {"state": DONE, "scores": scores, **told}


def _left(events: Iterable[Mapping[str, Any]]) -> defaultdict[str, set[str]]:
    """Return step → sites that its model left for, from the site's log."""
    left: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        if event.get("event") == MODEL_LEFT:
            left[event["step"]].update(event["to"])
    return left
