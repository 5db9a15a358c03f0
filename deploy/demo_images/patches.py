"""Cutting labelled patches out of one picture, evenly and without chance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture in pixels; ``bottom`` and ``right`` lie just outside."""

    top: int
    left: int
    bottom: int
    right: int

    def cut(self, pixels: Pixels) -> Pixels:
        """Return the pixels inside."""
        return pixels[self.top : self.bottom, self.left : self.right]

    def overlaps(self, other: "Region") -> bool:
        """Whether the two rectangles share a pixel."""
        rows = self.top < other.bottom and other.top < self.bottom
        return rows and self.left < other.right and other.left < self.right


@dataclass(frozen=True, eq=False)
class Patch:
    """One labelled piece of a picture.

    Args:
        pixels: uint8 [size, size] gray or [size, size, 3] RGB.
        label: Its class.
        source: The picture it was cut from.
        region: Where it was cut.
    """

    pixels: Pixels
    label: str
    source: str
    region: Region

    @property
    def name(self) -> str:
        """A file name that says where the patch comes from."""
        return f"{self.source}-r{self.region.top:04d}-c{self.region.left:04d}"


@dataclass(frozen=True, eq=False)
class LabelRule:
    """A patch earns the label when enough of its pixels show the evidence.

    Args:
        label: The class.
        evidence: bool [height, width] over the whole picture.
        at_least: Smallest share of evidence pixels, in [0, 1].
        at_most: Largest share.
    """

    label: str
    evidence: Mask
    at_least: float
    at_most: float = 1.0


def labelled_patches(
    source: str, pixels: Pixels, area: Region, size: int, stride: int, rules: Sequence[LabelRule]
) -> list[Patch]:
    """Return every patch on a grid inside ``area`` that earns exactly one label.

    Patches that earn none or several are what a pathologist would call doubtful; they are left out.

    Args:
        source: Name of the picture.
        pixels: uint8 [height, width] or [height, width, 3].
        area: Where patches may lie.
        size: Side of a patch in pixels.
        stride: Step of the grid in pixels.
        rules: The classes.
    """
    sums = [(rule, _integral(rule.evidence)) for rule in rules]
    found = []
    for region in _grid(area, size, stride):
        labels = [rule.label for rule, table in sums if _earns(rule, table, region)]
        if len(labels) == 1:
            found.append(Patch(region.cut(pixels), labels[0], source, region))
    return found


def spread(patches: Sequence[Patch], per_class: int) -> list[Patch]:
    """Return up to ``per_class`` patches of every label, as far apart as the picture allows.

    Each next patch is the one farthest from all chosen before (Gonzalez 1985), so overlap between
    neighbours stays as small as it can be.
    """
    chosen: list[Patch] = []
    for label in sorted({patch.label for patch in patches}):
        own = [patch for patch in patches if patch.label == label]
        chosen += [own[i] for i in sorted(_farthest_first(_corners(own), per_class))]
    return chosen


def _corners(patches: Sequence[Patch]) -> npt.NDArray[np.int64]:
    pictures = sorted({patch.source for patch in patches})
    far = 1 << 20  # patches of different pictures are farther apart than any two of one picture
    rows = [[far * pictures.index(p.source), p.region.top, p.region.left] for p in patches]
    return np.array(rows, dtype=np.int64)


def _farthest_first(points: npt.NDArray[np.int64], count: int) -> list[int]:
    chosen = [0]
    distance = ((points - points[0]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


def _grid(area: Region, size: int, stride: int) -> Iterator[Region]:
    for top in range(area.top, area.bottom - size + 1, stride):
        for left in range(area.left, area.right - size + 1, stride):
            yield Region(top, left, top + size, left + size)


def _integral(mask: Mask) -> npt.NDArray[np.int64]:
    return np.pad(mask.astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)


def _earns(rule: LabelRule, table: npt.NDArray[np.int64], region: Region) -> bool:
    r = region
    inside = table[r.bottom, r.right] - table[r.top, r.right] - table[r.bottom, r.left] + table[r.top, r.left]
    share = int(inside) / ((r.bottom - r.top) * (r.right - r.left))
    return rule.at_least <= share <= rule.at_most
