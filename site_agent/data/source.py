"""What every dataset looks like to the rest of the site: a cheap listing, and images decoded one by one."""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from federation.canonical import canonical_json

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Listing:
    """All that is known of a dataset before any image is decoded; one entry per image.

    Args:
        names: What a person would call each image.
        stamps: A text per image that changes when its file changes (size and time, or a checksum).
        labels: int64 [n], positions in ``class_names``.
        class_names: Names of the classes.
        patients: Whose image it is, or None when unknown.
        splits: Which split it belongs to, or None when the dataset has none.
    """

    names: tuple[str, ...]
    stamps: tuple[str, ...]
    labels: Indices
    class_names: tuple[str, ...]
    patients: tuple[str, ...] | None = field(default=None, repr=False)
    splits: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        stamps: Sequence[str],
        classes: Sequence[str],
        patients: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """Return a listing from class names per image; without an order given, integers sort as numbers."""
        class_names = tuple(class_names or sorted_classes(set(classes)))
        position = {name: label for label, name in enumerate(class_names)}
        labels = np.array([position[name] for name in classes], dtype=np.int64)
        return cls(
            tuple(map(printable, names)),
            tuple(stamps),
            labels,
            class_names,
            None if patients is None else tuple(patients),
            None if splits is None else tuple(splits),
        )

    def take(self, indices: Indices) -> "Listing":
        """Return the entries at ``indices``, with all class names kept."""
        return Listing(
            _pick(self.names, indices),
            _pick(self.stamps, indices),
            self.labels[indices],
            self.class_names,
            None if self.patients is None else _pick(self.patients, indices),
            None if self.splits is None else _pick(self.splits, indices),
        )


class ImageSource(ABC):
    """A labelled image dataset. Listing is cheap, decoding is per image and safe from several threads.

    Attributes:
        origin: The folder, archive, table or file it was listed from.
        class_names: Names of the classes.
        labels: int64 [n], positions in ``class_names``.
        patients: Whose image each is, or None when unknown.
        splits: Split of each image, or None when the dataset has none.
    """

    def __init__(self, origin: Path, listing: Listing, settings: Mapping[str, object]) -> None:
        self.origin = origin
        self.listing = listing
        self.settings = settings
        self.class_names = listing.class_names
        self.labels = listing.labels
        self.patients = listing.patients
        self.splits = listing.splits

    def __len__(self) -> int:
        return len(self.listing.names)

    def name(self, index: int) -> str:
        """Return what a person would call this image: ``a/b.png``, ``x.dcm#frame 3``, ``x.npz[17]``."""
        return self.listing.names[index]

    @abstractmethod
    def load(self, index: int, *, min_side: int | None = None) -> Image.Image:
        """Decode one image.

        Args:
            index: Position in the listing.
            min_side: Where a format can decode at reduced size at less cost (JPEG), it may do so as long
                as no side becomes shorter than this many pixels. None decodes at full size.

        Returns:
            The image in mode "RGB".

        Raises:
            DataError: If it cannot be read or decoded; the message names the image.
        """

    def digest(self) -> str:
        """Return the SHA-256 of listing and decoding settings; it changes when the data change."""
        listing = self.listing
        digest = hashlib.sha256(canonical_json([dict(self.settings), listing.class_names]))
        absent = (None,) * len(self)
        columns = (listing.patients or absent, listing.splits or absent, listing.stamps)
        for entry in zip(listing.names, listing.labels.tolist(), *columns, strict=True):
            digest.update(canonical_json(entry) + b"\n")
        return digest.hexdigest()

    def class_counts(self) -> dict[str, int]:
        """Return class name → number of images, in the order of ``class_names``."""
        counts = Counter(self.labels.tolist())
        return {name: counts[label] for label, name in enumerate(self.class_names)}

    def subset(self, indices: npt.ArrayLike) -> "ImageSource":
        """Return the images at ``indices`` (int [k]) as a source of its own."""
        return _Subset(self, np.asarray(indices, dtype=np.int64))


class _Subset(ImageSource):
    def __init__(self, whole: ImageSource, indices: Indices) -> None:
        super().__init__(whole.origin, whole.listing.take(indices), whole.settings)
        self._whole = whole
        self._indices = indices

    def load(self, index: int, *, min_side: int | None = None) -> Image.Image:
        return self._whole.load(int(self._indices[index]), min_side=min_side)


def sorted_classes(names: set[str]) -> tuple[str, ...]:
    """Return class names in a fixed order: as numbers when all are integers, else as text."""
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def printable(name: str) -> str:
    """Return a file name without the half characters that stand for bytes which are not UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _pick(values: tuple[str, ...], indices: Indices) -> tuple[str, ...]:
    return tuple(values[index] for index in indices.tolist())
