"""Networks of timm and torchvision without their classifier: one vector of pooled features per image."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torchvision
from torch import nn

from federation.errors import ExtractorError
from federation.space import Interpolation, Library
from site_agent.network.download import hub_download, url_download

Channels = tuple[float, float, float]

_IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Backbone:
    """A network up to its penultimate features, and the input it was trained for.

    Args:
        network: Normalised float32 [N, 3, S, S] to features [N, n_features]; frozen, in evaluation mode.
        head: Names of the removed classifier; a weights file may hold their tensors.
        mean: Per-channel mean of its training images, in [0, 1].
        std: Per-channel standard deviation.
        interpolation: How its training images were resized.
    """

    network: nn.Module
    head: tuple[str, ...]
    mean: Channels
    std: Channels
    interpolation: Interpolation


def build_backbone(library: Library, name: str, image_size: int, *, download: bool) -> Backbone:
    """Build a network by its name in its library.

    Args:
        library: Where the architecture comes from.
        name: Its name there; timm's may carry a tag, as in ``resnet34.a1_in1k``.
        image_size: Side of the square input in pixels.
        download: Load the library's own pretrained weights instead of random ones.

    Raises:
        ExtractorError: If the library has no such network, it has no pooled features, or its weights are
            neither in the library's cache nor within reach.
    """
    backbone = _BUILDERS[library](name, image_size, download)
    backbone.network.eval().requires_grad_(False)
    return backbone


def _timm(name: str, image_size: int, download: bool) -> Backbone:
    config = _timm_config(name)
    options: dict[str, Any] = {"img_size": image_size} if config.fixed_input_size else {}
    if download:
        _require_published(name, config.hf_hub_id or config.url)
        with hub_download(config.hf_hub_id, config.url) as overlay:
            network = timm.create_model(
                name, num_classes=0, pretrained=True, pretrained_cfg_overlay=overlay, **options
            )
    else:
        network = timm.create_model(name, num_classes=0, **options)
    head = (config.classifier,) if isinstance(config.classifier, str) else tuple(config.classifier or ())
    return Backbone(network, head, config.mean, config.std, _interpolation(config.interpolation))


def _timm_config(name: str) -> Any:
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    architecture, _, tag = name.partition(".")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ExtractorError(
            f"timm has no weights tagged {tag!r} for {architecture}", remedy=f"its tags are {', '.join(tags)}"
        )
    return timm.get_pretrained_cfg(name)


def _torchvision(name: str, image_size: int, download: bool) -> Backbone:
    # Vision transformers refuse other sizes when they run; nothing else depends on it.
    del image_size
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise _unknown("torchvision", name, known)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    if download:
        with url_download(weights.url):
            network = torchvision.models.get_model(name, weights=weights)
    else:
        network = torchvision.models.get_model(name)
    preset = weights.transforms()
    head = _last_classifier(name, network)
    network.set_submodule(head, nn.Identity())
    return Backbone(
        network, (head,), tuple(preset.mean), tuple(preset.std), _interpolation(preset.interpolation.value)
    )


_BUILDERS: dict[Library, Callable[[str, int, bool], Backbone]] = {"timm": _timm, "torchvision": _torchvision}


def _last_classifier(name: str, network: nn.Module) -> str:
    """Return the name of the layer whose input are the penultimate features."""
    for layer, module in reversed(list(network.named_modules())):
        if isinstance(module, nn.Linear) and module.out_features == _IMAGENET_CLASSES:
            return str(layer)
    raise ExtractorError(
        f"torchvision's {name} has no linear classifier, hence no pooled features before it",
        remedy="choose another network, such as resnet34 or mobilenet_v2",
    )


def _interpolation(name: str) -> Interpolation:
    return "bicubic" if name == "bicubic" else "bilinear"


def _require_published(name: str, location: str | None) -> None:
    if not location:
        raise ExtractorError(
            f"timm publishes no pretrained weights for {name}", remedy="name a local file with its SHA-256"
        )


def _unknown(library: str, name: str, known: list[str]) -> ExtractorError:
    close = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    remedy = f"did you mean {', '.join(close)}?" if close else f"see {library}'s list of models"
    return ExtractorError(f"{library} has no network named {name!r}", remedy=remedy)
