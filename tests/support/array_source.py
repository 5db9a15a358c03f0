"""A dataset held in memory as an array, for tests that train."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from site_agent.data.source import ImageSource, Listing


class ArraySource(ImageSource):
    """Pictures in memory; counts which were decoded.

    Args:
        pixels: uint8 [n, height, width, 3].
        labels: Class of each.
        splits: Split of each, if the dataset has any.
        patients: Whose each is, if that is known.
    """

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        labels: Sequence[int],
        splits: Sequence[str] | None = None,
        patients: Sequence[str] | None = None,
    ) -> None:
        names = [f"{i}.png" for i in range(len(pixels))]
        stamps = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels]
        listing = Listing.of(names, stamps, [str(label) for label in labels], patients, splits)
        super().__init__(Path("memory"), listing, {})
        self.pixels = pixels
        self.decoded: set[int] = set()

    def load(self, index: int, *, min_side: int | None = None) -> Image.Image:
        self.decoded.add(index)
        return Image.fromarray(self.pixels[index])
