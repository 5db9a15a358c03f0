"""What a site lends to a training: its copies of published weights, a place for decoded images, a device."""

from pathlib import Path
from typing import TypedDict

from federation.transfer.model import TravellingModel
from federation.transfer.recipe import Network
from site_agent.config import SiteConfig
from site_agent.training.networks import PretrainedWeights, WeightsPlace
from site_agent.training.run import Device, TrainingRun
from site_agent.transfer.departure import recipients
from site_agent.transfer.work import Asked


class Lent(TypedDict):
    """Arguments of the engines by name."""

    pretrained: PretrainedWeights
    device: Device
    images: Path
    max_unreadable: float


def lent_to(asked: Asked) -> Lent:
    """Return what a step may use; decoded images are shared by all steps and never leave."""
    config = asked.site.config
    return Lent(
        pretrained=published_weights(config, asked.step.network),
        device=config.transfer.device,
        images=asked.site.state.folder / "images",
        max_unreadable=asked.dataset.max_unreadable,
    )


def published_weights(config: SiteConfig, network: Network) -> PretrainedWeights:
    """Return where the site's copies of a network's published weights are; downloaded where it names none."""
    named = {
        weights.name: WeightsPlace(weights.source, weights.sha256)
        for weights in config.pretrained
        if weights.library == network.library
    }
    installed = PretrainedWeights().places if network.library == "timm" else {}
    return PretrainedWeights({**installed, **named})


def trained_model(asked: Asked, run: TrainingRun) -> TravellingModel:
    """Return the backbone that a training ended with, signed.

    Raises:
        TrainingError: If a number in it is not finite.
    """
    step = asked.step
    normalization, weights = run.backbone()
    named = (step.network, normalization, step.site, step.task, step.step_id)
    model = TravellingModel(*named, weights, travels_to=recipients(step))
    return model.signed(asked.site.identity)
