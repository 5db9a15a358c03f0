"""A small real site that takes part in transfer experiments, with training that only counts epochs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from factories import make_identity, make_job
from flwr.app import RecordDict
from pictures import make_pixels, save

from federation.files import write_atomically
from federation.identity import Identity
from federation.transfer.messages import RollCallReply, RollCallRequest, TransferReply, TransferRequest
from federation.transfer.model import TravellingModel
from federation.transfer.recipe import Network, Recipe
from federation.transfer.result import AUROC, Progress, Score, StepResult
from federation.transfer.step import CotrainStep, Step, TrainStep
from site_agent.jobs import Site
from site_agent.transfer.participation import answer_roll_call, answer_step
from site_agent.transfer.work import Asked, Work

PATIENT, FILE = "patient-ada-1815", "ada-lovelace"
NETWORK = Network(name="test_resnet", image_size=32)
EXACT = {
    "metrics_because": "figures tell nothing of one patient",
    "measured_images": 1,
    "models": "exact",
    "models_because": "published as CC0",
    "models_to": ["bern"],
}


class CountingWork(Work):
    """Counts epochs in place of training; what it finds depends on the step alone.

    Args:
        asked: The step.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.checkpoint = asked.folder / "checkpoint.safetensors"
        asked.source()

    @property
    def epoch(self) -> int:
        return int(self.checkpoint.read_text()) if self.checkpoint.exists() else 0

    @property
    def finished(self) -> bool:
        return self.epoch == self.asked.step.recipe.epochs

    def advance(self, slice_s: float) -> Progress:
        write_atomically(self.checkpoint, str(self.epoch + 1).encode())
        return Progress(epoch=self.epoch, epochs=self.asked.step.recipe.epochs, loss=0.5)

    def result(self) -> tuple[StepResult, bytes]:
        score = Score(value=0.75, low=0.5, high=1.0)
        found = StepResult(
            scores={AUROC: score}, n_train=6, n_measured=2, n_classes=2, epochs=self.epoch, seconds=1.5
        )
        if isinstance(self.asked.step, TrainStep) and not self.asked.step.travels_to:
            return found, b""
        start = {} if self.asked.start is None else self.asked.start.weights
        weights = {"w": np.full(3, self.asked.step.seed, np.float32) + sum(w.sum() for w in start.values())}
        return found, model_of(self.asked.site.identity, self.asked.step, weights=weights).to_bytes()


def model_of(
    identity: Identity, step: Step | None = None, *, network: Network = NETWORK, **changes: Any
) -> TravellingModel:
    """A signed model of one tensor."""
    step_id = "ab" * 32 if step is None else step.step_id
    model = TravellingModel(network, "batch", identity.name, "digits", step_id, {"w": np.ones(3, np.float32)})
    return replace(model, **changes).signed(identity)


def train(**changes: Any) -> TrainStep:
    """A step of two epochs at site ``anna``."""
    return TrainStep(
        **({"site": "anna", "task": "digits", "network": NETWORK, "recipe": Recipe(epochs=2)} | changes)
    )


def cotrain(**changes: Any) -> CotrainStep:
    """One round of training ``anna`` and ``bern`` together."""
    told = {"group": "cd" * 32, "round": 0, "rounds": 1, "partners": ("anna", "bern")}
    return CotrainStep(**(train().model_dump(exclude={"kind", "measure", "travels_to"}) | told | changes))


@dataclass(frozen=True)
class TransferSite:
    """A site and the aggregator that it answers."""

    site: Site
    hub: Identity

    def ask(self, step: Step, *, nonce: str = "0f" * 16, model: bytes = b"", **job: Any) -> TransferReply:
        """Ask once, through the records that travel."""
        header = make_job("job-1", nonce, aggregator=self.hub.public_key, **job)
        request = TransferRequest(header, step, 0.0, model)
        record = answer_step(self.site, TransferRequest.from_record(request.to_record(self.hub))).to_record(
            self.site.identity
        )
        return TransferReply.from_record(
            record, {self.site.config.name: self.site.identity.public_key}, header, step
        )

    def finish(self, step: Step, *, model: bytes = b"", most: int = 20) -> list[TransferReply]:
        """Ask until the step ends, and return every reply."""
        replies = [self.ask(step, model=model)]
        while replies[-1].state == "running" and len(replies) < most:
            replies.append(self.ask(step))
        return replies

    def roll_call(self, **job: Any) -> RollCallReply:
        """Ask who is there."""
        header = make_job("job-1", aggregator=self.hub.public_key, **job)
        request = RollCallRequest.from_record(RollCallRequest(header).to_record(self.hub))
        record = answer_roll_call(self.site, request).to_record(self.site.identity)
        return RollCallReply.from_record(record, {"anna": self.site.identity.public_key}, header)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what the site's log says of one kind of event."""
        return [event for event in self.site.state.events() if event["event"] == name]

    def texts(self) -> str:
        """Return all error texts in the site's log."""
        return " ".join(event.get("text", "") for event in self.site.state.events())


def bytes_of(record: RecordDict) -> bytes:
    """Return all that a record says, as bytes."""
    return repr(record).encode() + b"".join(
        value
        for config in record.config_records.values()
        for value in config.values()
        if isinstance(value, bytes)
    )


def write_transfer_site(
    folder: Path,
    transfer: Mapping[str, Any] | None = EXACT,
    everywhere: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    n_images: int = 8,
) -> TransferSite:
    """Write site and policy files, and images of two classes, each patient with two of one class.

    Args:
        folder: Where.
        transfer: The table ``[task.digits.transfer]``; None: there is none.
        everywhere: The table ``[transfer]`` of the policy.
        settings: The table ``[transfer]`` of the site file.
        n_images: How many images.
    """
    rows = ["path,label,patient"]
    for i in range(n_images):
        save(folder / "images" / f"{FILE}-{i}.png", make_pixels(i))
        rows.append(f"{FILE}-{i}.png,{'ab'[i // 2 % 2]},{PATIENT}-{i // 2}")
    (folder / "labels.csv").write_text("\n".join(rows))
    hub = make_identity("hub", folder)
    task: dict[str, Any] = {"modes": ["listen"]} | ({} if transfer is None else {"transfer": dict(transfer)})
    policy = {"schema": 1, "aggregator": {"public_keys": [hub.public_key]}, "task": {"digits": task}}
    if everywhere is not None:
        policy["transfer"] = dict(everywhere)
    (folder / "policy.toml").write_text(tomli_w.dumps(policy))
    dataset = {"format": "csv", "task": "digits", "table": "labels.csv", "images": "images"}
    site = {"name": "anna", "dataset": [dataset], "transfer": dict(settings or {})}
    (folder / "site.toml").write_text(tomli_w.dumps(site))
    return TransferSite(Site.open(folder / "site.toml"), hub)
