"""A dataset without files, for tests that need many small ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from federation.errors import DataError
from site_agent.data.source import ImageSource, Listing


class MemorySource(ImageSource):
    """Pictures of one colour each; an image without colour cannot be read.

    Args:
        names: What each image is called.
        colours: Red, green and blue of each.
        patients: Whose each is.
    """

    def __init__(
        self,
        names: Sequence[str],
        colours: Sequence[tuple[int, int, int] | None],
        patients: Sequence[str] | None = None,
    ) -> None:
        classes = [("ill", "well")[len(name) % 2] for name in names]
        stamps = [str(colour) for colour in colours]
        listing = Listing.of(names, stamps, classes, patients, class_names=["ill", "well"])
        super().__init__(Path("memory"), listing, {})
        self.colours = tuple(colours)

    def load(self, index: int, *, min_side: int | None = None) -> Image.Image:
        colour = self.colours[index]
        if colour is None:
            raise DataError(f"{self.name(index)}: cannot be read")
        return Image.fromarray(np.full((8, 8, 3), colour, np.uint8))
