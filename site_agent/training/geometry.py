"""Turns, shears, scales and shifts of a batch, another amount for each image; edges are mirrored outwards."""

import torch
from torch.nn import functional as F  # noqa: N812, the name its own documentation uses


def rotated(images: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Return images uint8 [n, 3, S, S], each turned about its centre by its degrees float32 [n]."""
    angle = torch.deg2rad(degrees)
    return _resampled(images, _matrices((angle.cos(), -angle.sin()), (angle.sin(), angle.cos())))


def sheared(images: torch.Tensor, degrees: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Return images uint8 [n, 3, S, S], each sheared sideways (axis 0) or upwards (axis 1) by degrees [n]."""
    slope, one, zero = torch.deg2rad(degrees).tan(), torch.ones_like(degrees), torch.zeros_like(degrees)
    rows = ((one, slope), (zero, one)) if axis == 0 else ((one, zero), (slope, one))
    return _resampled(images, _matrices(*rows))


def scaled(images: torch.Tensor, amounts: torch.Tensor) -> torch.Tensor:
    """Return images uint8 [n, 3, S, S], each enlarged by its amount float32 [n] > -1, as a share."""
    inverse, zero = 1 / (1 + amounts), torch.zeros_like(amounts)
    return _resampled(images, _matrices((inverse, zero), (zero, inverse)))


def shifted(images: torch.Tensor, amounts: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Return images uint8 [n, 3, S, S], each shifted along one axis (2 or 3) by whole pixels.

    Args:
        images: The images.
        amounts: float32 [n], shares of the side between -1 and 1.
        axis: 2 shifts downwards, 3 to the right.
    """
    side = images.shape[axis]
    pixels = (amounts * side).round().long()
    places = _mirrored(torch.arange(side, device=images.device) - pixels[:, None], side)
    places = places[:, None, :, None] if axis == 2 else places[:, None, None, :]
    return images.gather(axis, places.expand(images.shape))


def _mirrored(places: torch.Tensor, side: int) -> torch.Tensor:
    """Return places in [0, side) for places up to a side beyond, mirrored at the outermost pixels."""
    return (side - 1) - ((side - 1) - places.abs()).abs()


def _matrices(
    upper: tuple[torch.Tensor, torch.Tensor], lower: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Return float32 [n, 2, 3]: where in the original each place of the result comes from."""
    linear = torch.stack([torch.stack(upper, dim=1), torch.stack(lower, dim=1)], dim=1)
    return F.pad(linear, (0, 1))


def _resampled(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, "bilinear", "reflection", align_corners=False)
    return moved.round_().clamp_(0, 255).to(torch.uint8)
