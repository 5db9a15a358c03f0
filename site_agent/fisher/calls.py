"""The functions in which layers use their weights, as they are called.

Observing functions instead of layers needs no knowledge of what a layer does around its convolution, such as
timm's TensorFlow padding or its activations fused with normalisation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from federation.errors import ExtractorError
from federation.sketches.fisher_parameters import Granularity
from site_agent.fisher.squares import ConvSettings, conv_squares, linear_squares, scale_squares


@dataclass(frozen=True, eq=False)
class ConvCall:
    """A convolution of float [N, I, H, W]; ``settings`` hold what ``extra`` padding does not."""

    inputs: Tensor
    weight: Tensor
    settings: ConvSettings
    extra: tuple[int, int, int, int] = (0, 0, 0, 0)

    def squares(self, gradient: Tensor, granularity: Granularity) -> Tensor:
        """Return mean squared gradients of the weights, float [N, n_weights]."""
        return conv_squares(self._padded(), gradient, self.weight, self.settings, granularity)

    def energy(self) -> Tensor:
        """Return Σ x² over the inputs that each filter sees, float, broadcasting to the output."""
        per_group = self.weight.shape[0] // self.settings.groups
        ones = torch.ones_like(self.weight[::per_group])
        stride, padding, dilation = (self.settings.stride, self.settings.padding, self.settings.dilation)
        seen = F.conv2d(self._padded().square(), ones, None, stride, padding, dilation, self.settings.groups)
        return seen.repeat_interleave(per_group, dim=1) if self.settings.groups > 1 else seen

    def _padded(self) -> Tensor:
        return F.pad(self.inputs, self.extra) if any(self.extra) else self.inputs


@dataclass(frozen=True, eq=False)
class LinearCall:
    """A matrix applied to float [N, ..., I]."""

    inputs: Tensor
    weight: Tensor

    def squares(self, gradient: Tensor, granularity: Granularity) -> Tensor:
        """Return mean squared gradients of the weights, float [N, n_weights]."""
        n = len(self.inputs)
        x, g = (part.reshape(n, -1, part.shape[-1]) for part in (self.inputs, gradient))
        return linear_squares(x, g, granularity)

    def energy(self) -> Tensor:
        """Return Σ x² over the inputs, float, broadcasting to the output."""
        return self.inputs.square().sum(dim=-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class ScaleCall:
    """Batch normalisation of float [N, C, ...] by fixed statistics."""

    inputs: Tensor
    weight: Tensor | None
    mean: Tensor
    variance: Tensor
    eps: float

    def squares(self, gradient: Tensor, granularity: Granularity) -> Tensor:
        """Return squared gradients of the scales, float [N, C]."""
        del granularity
        return scale_squares(self.inputs, gradient, self.mean, self.variance, self.eps)

    def energy(self) -> Tensor:
        """Return the squared input of each scale, float, of the shape of the output."""
        return F.batch_norm(self.inputs, self.mean, self.variance, eps=self.eps).square()


Call = ConvCall | LinearCall | ScaleCall


def observe(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Call | None:
    """Return the call of a function if it is one of those that use weights.

    Raises:
        ExtractorError: If batch normalisation is not in evaluation mode.
    """
    reader = _READERS.get(function)
    if reader is None:
        return None
    named = dict(kwargs)
    first = (named.pop("input"),) if "input" in named else ()
    return reader(*first, *args, **named)


def _conv2d(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> ConvCall:
    del bias
    steps = _pair(dilation)
    if isinstance(padding, str):
        extra = _same_padding(weight, steps) if padding == "same" else (0, 0, 0, 0)
        return ConvCall(inputs, weight, ConvSettings(_pair(stride), (0, 0), steps, groups), extra)
    return ConvCall(inputs, weight, ConvSettings(_pair(stride), _pair(padding), steps, groups))


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> LinearCall:
    del bias
    return LinearCall(inputs, weight)


def _batch_norm(
    inputs: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> ScaleCall:
    del bias, momentum
    if training:
        raise ExtractorError("per-image gradients need batch normalisation in evaluation mode")
    return ScaleCall(inputs, weight, running_mean, running_var, eps)


_READERS: dict[Any, Callable[..., Call]] = {
    F.conv2d: _conv2d,
    F.linear: _linear,
    F.batch_norm: _batch_norm,
}


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


def _same_padding(weight: Tensor, dilation: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, right, top and bottom padding that keeps the size; the odd one goes right and below."""
    high, wide = (step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True))
    return wide // 2, wide - wide // 2, high // 2, high - high // 2
