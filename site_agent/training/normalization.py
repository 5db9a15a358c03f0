"""What the normalisation layers of a network are: as published, frozen statistics, or groups of channels.

Batch statistics mix patients, so training with noise per patient needs layers that look at one image alone.
"""

import math
from collections.abc import Callable
from typing import cast

from timm.utils.model import freeze_batch_norm_2d  # type: ignore[attr-defined]
from torch import nn

from federation.transfer.model import Normalization, Weights
from federation.transfer.recipe import Recipe
from federation.transfer.step import IMAGENET

_MOST_GROUPS = 32  # Wu & He 2018, Group Normalization


def normalization_of(weights: Weights) -> Normalization:
    """Return which layers an array per tensor's name was saved from; their names and number tell.

    A network that never had batch normalisation is the same in all three ways.
    """
    if any(name.endswith("num_batches_tracked") for name in weights):
        return "batch"
    return "frozen" if any(name.endswith("running_mean") for name in weights) else "group"


def trained_normalization(recipe: Recipe, start: str, weights: Weights | None) -> Normalization:
    """Return what the layers are while training.

    Args:
        recipe: How to train; with noise, no statistics of batches are taken.
        start: Where the weights begin, as in a step.
        weights: Arrays of the model it begins at, if any.
    """
    found: Normalization = "batch" if start == IMAGENET else "group"
    if weights is not None:
        found = normalization_of(weights)
    elif recipe.private is None:
        return "batch"
    return "frozen" if recipe.private is not None and found == "batch" else found


def with_normalization(network: nn.Module, kind: Normalization) -> nn.Module:
    """Return a network whose batch normalisation layers are replaced; it is changed in place.

    Args:
        network: As its library built it.
        kind: ``"batch"`` leaves it alone; ``"frozen"`` keeps statistics, scale and shift as they are, for
            good; ``"group"`` puts fresh group normalisation in their place.
    """
    if kind == "batch":
        return network
    changed: nn.Module = _frozen(network) if kind == "frozen" else _with_groups(network)
    _forbid_overwriting(changed)
    return changed


def _frozen(network: nn.Module) -> nn.Module:
    return cast(nn.Module, freeze_batch_norm_2d(network))  # type: ignore[no-untyped-call]


def _with_groups(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.BatchNorm2d):
        groups = nn.GroupNorm(math.gcd(_MOST_GROUPS, module.num_features), module.num_features, module.eps)
        after = [part for name in ("drop", "act") if (part := getattr(module, name, None)) is not None]
        return nn.Sequential(groups, *after) if after else groups
    return _mapped(module, _with_groups)


def _mapped(module: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    for name, child in list(module.named_children()):
        module.add_module(name, change(child))
    return module


def _forbid_overwriting(network: nn.Module) -> None:
    """Gradients of one patient are taken by hooks, which cannot stand layers that overwrite their input."""
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
