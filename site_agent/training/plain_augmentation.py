"""What training images go through where no policy is named: half of them mirrored, all shifted a little."""

import torch

_SHIFT = 1 / 16  # of the side, at most, either way


def plain_augmentation(images: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Return images mirrored at random and shifted by up to 1/16 of their side; edges are mirrored outwards.

    Args:
        images: uint8 [B, 3, S, S], on any device; they stay as they are.
        chance: Where it draws from.

    Returns:
        uint8 [B, 3, S, S], channels last in memory.
    """
    n, side = len(images), images.shape[-1]
    margin = max(1, round(side * _SHIFT))
    drawn = torch.randint(2 * margin + 1, (2, n), generator=chance, device=chance.device)
    mirrored = torch.rand(n, generator=chance, device=chance.device) < 0.5
    top, left = drawn.to(images.device)
    windows = _windows(images.permute(0, 2, 3, 1), margin)
    shifted = windows[torch.arange(n, device=images.device), top, left]
    flipped = torch.where(mirrored.to(images.device).view(-1, 1, 1, 1), shifted.flip(2), shifted)
    return flipped.permute(0, 3, 1, 2)


def _windows(images: torch.Tensor, margin: int) -> torch.Tensor:
    """Return every shift of images [B, S, S, 3], as a view [B, 2·margin + 1, 2·margin + 1, S, S, 3]."""
    side = images.shape[1]
    places = torch.arange(-margin, side + margin, device=images.device)
    places = (side - 1) - ((side - 1) - places.abs()).abs()
    padded = images.index_select(1, places).index_select(2, places)
    return padded.unfold(1, side, 1).unfold(2, side, 1).permute(0, 1, 2, 4, 5, 3)
