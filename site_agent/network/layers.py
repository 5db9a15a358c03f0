"""Features from inside a network: what layers put out, averaged over the image."""

import difflib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from federation.errors import ExtractorError

POOLED = "features"
"""Names the pooled penultimate features among the layers, unless the network has a layer of that name."""

_SHOWN = 40
_DEPTH = 2  # of the layers that an error lists; deeper ones can be named all the same


class LayerFeatures(nn.Module):
    """A network whose features are the channel means of some of its layers, end to end.

    A layer gives the mean over the image of every channel of [N, channels, H, W], the mean over tokens of
    [N, tokens, channels] (vision transformers), and [N, channels] as it is. Means are taken as the layer
    returns, before any later layer can change its output in place. Several threads may call it.

    Args:
        network: Images to pooled features, in evaluation mode.
        layers: Module paths in order, such as ``"blocks.1"``; ``"features"`` is the pooled features.

    Raises:
        ExtractorError: If a layer does not exist or is named twice.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self._layers = tuple(layers)
        self._seen = threading.local()
        modules = dict(network.named_modules())
        _check(self._layers, modules)
        last = network.__dict__.get("output_fmt", "NCHW") == "NHWC"
        for layer in self._layers:
            if layer in modules:
                modules[layer].register_forward_hook(self._keeper(layer, channels_last=last))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return float [N, n_features].

        Raises:
            ExtractorError: If a layer does not run exactly once per image, or gives no tensor to average.
        """
        self._seen.means = {layer: [] for layer in self._layers}
        pooled = self.network(images)
        means = self._seen.means
        if POOLED in means and not means[POOLED]:
            means[POOLED].append(pooled)
        for layer, found in means.items():
            if len(found) != 1:
                raise ExtractorError(
                    f"layer {layer!r} runs {len(found)} times per image, expected once",
                    remedy="name the block around it",
                )
        return torch.cat([means[layer][0] for layer in self._layers], dim=1)

    def _keeper(self, layer: str, *, channels_last: bool) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: object, output: Any) -> None:
            del module, inputs
            self._seen.means[layer].append(_averaged(layer, output, channels_last=channels_last))

        return keep


def _averaged(layer: str, output: Any, *, channels_last: bool) -> torch.Tensor:
    if not isinstance(output, torch.Tensor) or output.ndim not in (2, 3, 4):
        shape = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise ExtractorError(
            f"layer {layer!r} gives {shape}, which has no channels to average",
            remedy="name a layer that gives [N, channels, H, W], [N, tokens, channels] or [N, channels]",
        )
    if output.ndim == 4:
        return output.mean((1, 2) if channels_last else (2, 3))
    return output.mean(1) if output.ndim == 3 else output.clone()


def _check(layers: Sequence[str], modules: dict[str, nn.Module]) -> None:
    twice = [layer for layer in layers if layers.count(layer) > 1]
    if twice:
        raise ExtractorError(f"layers: {twice[0]!r} is named twice", remedy="name every layer once")
    for layer in layers:
        if layer != POOLED and (not layer or layer not in modules):
            raise ExtractorError(
                f"layers: the network has no layer {layer!r}", remedy=_choices(layer, modules)
            )


def _choices(layer: str, modules: dict[str, nn.Module]) -> str:
    outer = [name for name in modules if name and name.count(".") < _DEPTH]
    close = difflib.get_close_matches(layer, [name for name in modules if name], n=3)
    shown = list(dict.fromkeys([*close, *outer[:_SHOWN]]))
    return "choose from: " + ", ".join([*shown, POOLED]) + (", …" if len(outer) > _SHOWN else "")
