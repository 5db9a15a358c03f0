"""Which layers of a network the Fisher information describes."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from federation.errors import ExtractorError
from federation.sketches.fisher_layout import LayerShape, Layout
from federation.sketches.fisher_parameters import Granularity
from site_agent.fisher.gradients import SquaredGradients
from site_agent.network.layers import LayerFeatures

_SHORTCUTS = ("downsample", "shortcut")
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)  # timm's fused normalisation and activation derives from these


@dataclass(frozen=True)
class LayerChoice:
    """Which layers to take.

    Args:
        final_fraction: Share of the network's top-level blocks that is kept, from the last one backwards.
        shortcuts: Whether to take the layers on residual shortcuts (``downsample``).
        batchnorm: Whether to take the scales of batch normalisation.
    """

    final_fraction: float = 1.0
    shortcuts: bool = True
    batchnorm: bool = True


TASK2VEC = LayerChoice()
"""Every filter and every scale (Achille et al. 2019): 17,024 numbers for ResNet34."""

FED = LayerChoice(final_fraction=0.6, shortcuts=False)
"""The last 60 % of blocks without shortcuts (Godau and Maier-Hein 2021): 2,350,464 for ResNet34.

The published option that should leave scales out never matched their names, so its vectors hold them.
"""

PUBLISHED: dict[Granularity, LayerChoice] = {"filter": TASK2VEC, "kernel": FED}


def chosen_weights(network: nn.Module, choice: LayerChoice) -> dict[str, nn.Parameter]:
    """Return the weights of the chosen layers by the name of their layer, without biases.

    Args:
        network: A network that ends in pooled features.
        choice: Which layers.

    Raises:
        ExtractorError: If no layer is left.
    """
    found = dict(_weights(network, choice))
    if not found:
        raise ExtractorError(
            "the choice leaves no layer for the Fisher information", remedy="raise final_fraction"
        )
    return found


def weights_by_name(network: nn.Module, names: Iterable[str]) -> dict[str, nn.Parameter]:
    """Return the weights of the layers that a space names.

    Raises:
        ExtractorError: If the network has no such layer.
    """
    known = chosen_weights(network, LayerChoice())
    missing = [name for name in names if name not in known]
    if missing:
        raise ExtractorError(f"the network has no layer {missing[0]!r} that the space's Fisher sketch names")
    return {name: known[name] for name in names}


def layout_of(network: nn.Module, choice: LayerChoice, granularity: Granularity, image_size: int) -> Layout:
    """Return the chosen layers that the features depend on, each as one convolution, matrix or scale.

    Weights that the network uses in another way, for example inside fused attention, are left out, and so
    are those behind the layers that the features come from.

    Args:
        network: Frozen, in evaluation mode.
        choice: Which layers.
        granularity: What is averaged.
        image_size: Side of the input in pixels.

    Raises:
        ExtractorError: If no layer is left, or one is used twice.
    """
    weights = chosen_weights(network, choice)
    device = next(iter(weights.values())).device
    with torch.enable_grad():
        with SquaredGradients(weights, granularity) as recorder:
            features = network(torch.zeros(1, 3, image_size, image_size, device=device))
        if features.requires_grad:
            torch.autograd.backward(features.sum())
    used = [name for name in weights if name in recorder.reached]
    if not used:
        raise ExtractorError("the features depend on none of the chosen layers")
    return Layout(tuple(_shape(name, weights[name], granularity) for name in used))


def _weights(network: nn.Module, choice: LayerChoice) -> Iterator[tuple[str, nn.Parameter]]:
    blocks = list((network.network if isinstance(network, LayerFeatures) else network).named_children())
    # The margin keeps 0.6 · 10 from being rounded up to 7.
    kept = math.ceil(choice.final_fraction * len(blocks) - 1e-9)
    for block, child in blocks[len(blocks) - kept :]:
        for name, module in child.named_modules(prefix=block):
            if not choice.shortcuts and any(word in name for word in _SHORTCUTS):
                continue
            wanted = (nn.Conv2d, nn.Linear, *_NORMS) if choice.batchnorm else (nn.Conv2d, nn.Linear)
            if isinstance(module, wanted) and isinstance(module.weight, nn.Parameter):
                yield name, module.weight


def _shape(name: str, weight: nn.Parameter, granularity: Granularity) -> LayerShape:
    n_inputs = weight.shape[1] if weight.ndim > 1 and granularity == "kernel" else 1
    return LayerShape(name, weight.shape[0], n_inputs)
