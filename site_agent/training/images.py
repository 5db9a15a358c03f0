"""A task's images, decoded once and kept as the small squares that training takes."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from federation.errors import DataError
from federation.space import Transform
from site_agent.data import ImageSource
from site_agent.loading import WORKERS
from site_agent.training.row_file import Indices, RowFile
from site_agent.transforms import ImageTransform

Levels = npt.NDArray[np.uint8]

_CHUNK = 256
_PLAIN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # normalisation is the network's and comes later


@dataclass(frozen=True, eq=False)
class ImageCache:
    """Decoded images of a task at one size; every image is decoded once, for all steps.

    Args:
        source: The whole task.
        image_size: S, side of the squares in pixels.
        folder: Where the site keeps decoded images; they never leave.
        max_unreadable: Largest share of unreadable images among those that are used.
    """

    source: ImageSource = field(repr=False)
    image_size: int
    folder: Path
    max_unreadable: float = 0.2

    @cached_property
    def rows(self) -> RowFile:
        """The squares, uint8 [n, S, S, 3]."""
        size = self.image_size
        place = self.folder / f"{self.source.digest()[:32]}-{size}"
        return RowFile(place, len(self.source), (size, size, 3), "|u1")

    def decode(self, indices: Indices, until: float | None = None) -> bool:
        """Decode images that were not yet; returns whether all of them are.

        Args:
            indices: int64 [k], positions in the source.
            until: ``time.monotonic`` after which it stops; None: never.

        Raises:
            DataError: If too many of the images are unreadable.
            StoreError: If they cannot be kept.
        """
        with self.rows.filling():
            missing = self.rows.missing(indices)
            for start in range(0, len(missing), _CHUNK):
                # Some are decoded in any slice, however short, so that all are in the end.
                if start and until is not None and time.monotonic() > until:
                    return False
                self._decode_chunk(missing[start : start + _CHUNK])
        self._refuse_too_many(indices)
        return True

    def usable(self, indices: Indices) -> Indices:
        """Return those of the images that were decoded, in the order given."""
        return self.rows.readable(indices)

    def _decode_chunk(self, indices: Indices) -> None:
        spec = Transform(self.image_size, "deterministic", "bilinear", *_PLAIN)
        transform = ImageTransform(spec)

        def decoded(index: int) -> Levels | None:
            try:
                return transform.prepare(self.source.load(index, min_side=transform.decode_side))
            except DataError:
                return None

        with ThreadPoolExecutor(WORKERS, thread_name_prefix="fedprint-images") as pool:
            squares = list(pool.map(decoded, indices.tolist()))
        self._keep(indices, squares)

    def _keep(self, indices: Indices, squares: Sequence[Levels | None]) -> None:
        there = np.array([square is not None for square in squares], bool)
        size = self.image_size
        rows = [square for square in squares if square is not None]
        stacked = np.stack(rows) if rows else np.empty((0, size, size, 3), np.uint8)
        self.rows.write(indices[there], stacked, indices[~there])

    def _refuse_too_many(self, indices: Indices) -> None:
        bad = len(self.rows.unreadable(indices))
        if bad > self.max_unreadable * len(indices) or (bad and bad == len(indices)):
            raise DataError(
                f"{self.source.origin}: {bad} of {len(indices)} images cannot be used",
                remedy=f"repair or remove these files; at most {self.max_unreadable:.0%} may fail",
            )
