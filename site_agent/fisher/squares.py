"""Squared gradients of one layer's weights for every image of a batch, averaged over weights.

With g the gradient at a layer's output and u the inputs that a filter sees at each of L positions, the
gradient of one image is G = Σ_l g_l u_lᵀ. Averaging G² over all weights of a filter needs only the L × L
products of the inputs (Goodfellow, arXiv 1510.01799): Σ_d G_od² = g_oᵀ (u uᵀ) g_o. That is cheaper where L
is small, in the last layers. Elsewhere G is computed image by image by the library's own kernel for weight
gradients, which is mostly faster than unfolding inputs or turning images into groups, and handles strides,
dilation and groups.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from federation.sketches.fisher_parameters import Granularity

Pair = tuple[int, int]


@dataclass(frozen=True)
class ConvSettings:
    """How a convolution moves over its input.

    Args:
        stride: Rows and columns per step.
        padding: Rows and columns of zeros on each side.
        dilation: Distance between kernel positions.
        groups: Number of groups of channels.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


def conv_squares(
    inputs: Tensor, gradient: Tensor, weight: Tensor, settings: ConvSettings, granularity: Granularity
) -> Tensor:
    """Return the mean squared gradients of a convolution's weights.

    Args:
        inputs: float32 [N, I, H, W].
        gradient: float32 [N, O, H', W'], at the output.
        weight: float32 [O, I / groups, k, k].
        settings: Of the convolution.
        granularity: ``"filter"`` averages over inputs and kernel positions, ``"kernel"`` over the latter.

    Returns:
        float32 [N, O] or [N, O · I / groups].
    """
    pointwise = weight.shape[2:] == (1, 1) and settings == ConvSettings()
    n_positions, n_seen = gradient.shape[2] * gradient.shape[3], weight[0].numel()
    n_filters = weight.shape[0]
    if pointwise:
        return linear_squares(_positions(inputs), _positions(gradient), granularity)
    by_products = n_positions * (n_seen + n_filters) < n_seen * n_filters
    if granularity == "filter" and settings.groups == 1 and by_products:
        seen = F.unfold(inputs, weight.shape[2:], settings.dilation, settings.padding, settings.stride)
        return _by_products(seen.transpose(1, 2), _positions(gradient))
    dims = (1, 2, 3) if granularity == "filter" else (2, 3)
    return torch.stack(
        [
            _weight_gradient(x, g, weight, settings).square_().mean(dim=dims).flatten()
            for x, g in zip(torch.split(inputs, 1), torch.split(gradient, 1), strict=True)
        ]
    )


def linear_squares(inputs: Tensor, gradient: Tensor, granularity: Granularity) -> Tensor:
    """Return the mean squared gradients of a matrix that is applied at L positions.

    Args:
        inputs: float32 [N, L, I].
        gradient: float32 [N, L, O].
        granularity: ``"filter"`` averages over inputs; ``"kernel"`` averages nothing.

    Returns:
        float32 [N, O] or [N, O · I].
    """
    n_positions, n_seen, n_filters = inputs.shape[1], inputs.shape[2], gradient.shape[2]
    if granularity == "filter" and n_positions * (n_seen + n_filters) < n_seen * n_filters:
        return _by_products(inputs, gradient)
    squares = torch.bmm(gradient.transpose(1, 2), inputs).square_()
    return squares.mean(dim=2) if granularity == "filter" else squares.flatten(1)


def scale_squares(inputs: Tensor, gradient: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """Return the squared gradients of the scales of batch normalisation with fixed statistics.

    Args:
        inputs: float32 [N, C, ...].
        gradient: float32, likewise, at the output.
        mean: float32 [C], running mean.
        variance: float32 [C], running variance.
        eps: Added to the variance.

    Returns:
        float32 [N, C].
    """
    x, g = (part.flatten(2) if part.ndim > 2 else part[..., None] for part in (inputs, gradient))
    sums = (g * x).sum(dim=2) - mean * g.sum(dim=2)
    return (sums * torch.rsqrt(variance + eps)).square_()


def _by_products(inputs: Tensor, gradient: Tensor) -> Tensor:
    products = torch.bmm(inputs, inputs.transpose(1, 2))
    squares = (torch.bmm(products, gradient) * gradient).sum(dim=1)
    # Rounding can leave a tiny negative number where gradients cancel.
    return squares.clamp_min_(0) / inputs.shape[2]


def _positions(images: Tensor) -> Tensor:
    """Return float32 [N, H · W, C] of [N, C, H, W]; images in channels-last order are not copied."""
    return images.permute(0, 2, 3, 1).flatten(1, 2)


def _weight_gradient(inputs: Tensor, gradient: Tensor, weight: Tensor, settings: ConvSettings) -> Tensor:
    result: Tensor = torch.ops.aten.convolution_backward(
        gradient,
        inputs,
        weight,
        None,
        settings.stride,
        settings.padding,
        settings.dilation,
        False,
        (0, 0),
        settings.groups,
        (False, True, False),
    )[1]
    return result
