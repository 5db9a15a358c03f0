"""Training examples that are images."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from site_agent.data import ImageSource
from site_agent.network.architecture import Channels
from site_agent.training.epoch import Examples, Indices

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Images uint8 [B, 3, S, S] and chance to images of the same type and shape."""


class ImageExamples(Examples):
    """Images that are augmented and normalised as they are drawn, whole batches at a time.

    Args:
        source: The images, one per example.
        pixels: uint8 [m, S, S, 3], decoded images; may be mapped into memory.
        rows: int64 [n], row of each example in ``pixels``.
        augment: What training images go through.
        mean: Per channel, of the network's own training images in [0, 1].
        std: Per channel.
        device: Where the network is.
    """

    def __init__(
        self,
        source: ImageSource,
        pixels: npt.NDArray[np.uint8],
        rows: Indices,
        augment: Augment,
        mean: Channels,
        std: Channels,
        device: torch.device,
    ) -> None:
        super().__init__(source)
        self._pixels, self._rows = pixels, rows
        self._augment, self._device = augment, device
        self._scale, self._shift = _normalization(mean, std, pixels.shape[1], device)

    @override
    def inputs(self, positions: Indices, chance: torch.Generator | None) -> torch.Tensor:
        """Return normalised images float32 [B, 3, S, S], channels last."""
        levels = self.levels(positions)
        if chance is not None:
            levels = self._augment(levels, chance)
        wide = levels.to(torch.float32, memory_format=torch.channels_last)
        return torch.addcmul(self._shift, wide, self._scale)

    def levels(self, positions: Indices) -> torch.Tensor:
        """Return images as they were decoded, uint8 [B, 3, S, S], channels last, on the network's device."""
        drawn = torch.from_numpy(self._pixels[self._rows[positions]])
        if self._device.type == "cuda":
            drawn = drawn.pin_memory().to(self._device, non_blocking=True)
        return drawn.permute(0, 3, 1, 2)


def _normalization(
    mean: Channels, std: Channels, size: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what to multiply grey levels by and to add, each float32 [1, 3, S, S], channels last.

    Both are as large as an image: three numbers repeated along the fastest axis would be slower.
    """
    centre, spread = (np.array(part).reshape(1, 3, 1, 1) for part in (mean, std))
    scale, shift = (
        torch.tensor(part, dtype=torch.float32)
        .expand(1, 3, size, size)
        .contiguous(memory_format=torch.channels_last)
        .to(device)
        for part in (1 / (255 * spread), -centre / spread)
    )
    return scale, shift
