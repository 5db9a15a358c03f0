"""How much of a site's disk transfer experiments may take: an aggregator decides what is kept there.

Every image size has squares of its own, every frozen network features, every step a checkpoint, every group
heads and updates. Decoded images and features are made again when they are missing, so they give way, those
used last excepted; where that is not enough, nothing more is begun.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

from federation.errors import StoreError
from site_agent.training import IMAGES_FOLDER
from site_agent.transfer.step_files import FOLDER

_BLOCK = 512  # bytes, of `st_blocks`; files with holes take less than they are long
_USED_AT_ONCE = 2  # by one step: images, and their features


def require_room(state: Path, limit: int, *, begins: bool) -> None:
    """Remove decoded images and features that were not used lately where too much is kept.

    Whoever calls keeps others from working on any step meanwhile.

    Args:
        state: The site's state folder.
        limit: Most bytes that may be kept before a step begins or goes on.
        begins: Whether a step begins; what steps keep is counted then as well.

    Raises:
        StoreError: If too much is kept all the same.
    """
    images, steps = state / IMAGES_FOLDER, state / FOLDER
    used = _bytes_in(images) + (_bytes_in(steps) if begins else 0)
    for place in _least_recent(images):
        if used <= limit:
            return
        used -= _bytes_in(place)
        rmtree(place, ignore_errors=True)
    if used > limit:
        raise StoreError(
            f"transfer experiments keep {used:,} bytes in {images} and {steps}, of {limit:,} allowed",
            remedy="raise work_mb of [transfer] in the site file, or remove folders of steps and groups that "
            "are over",
        )


def _least_recent(images: Path) -> list[Path]:
    places = sorted(images.glob("*/"), key=lambda place: place.stat().st_mtime)
    return places[:-_USED_AT_ONCE]


def _bytes_in(folder: Path) -> int:
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield Path(place, name).lstat().st_blocks * _BLOCK
            except FileNotFoundError:  # a temporary file
                continue
