"""A federation that works in the space of a file instead of building one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from federation.errors import SpaceMismatchError
from federation.files import read_file
from federation.space import ExtractorIdentity, Space

_ONLY_BUILDS = ("reference_images", "clip", "private", "fisher")
"""What decides how a space is built, and nothing else."""


def read_space(path: Path) -> Space:
    """Return the space of a file.

    Raises:
        SpaceError: If it is damaged.
        StoreError: If it cannot be read.
    """
    return Space.from_bytes(read_file(path, "space"))


def filled(stated: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Return a ``[space]`` table with the values of its file, which it may repeat but not contradict.

    Args:
        stated: The table; ``file`` is a path relative to ``base``.
        base: Folder of the federation file.

    Raises:
        FedprintError: If the file is no space.
        ValueError: If a key says something else.
    """
    path = base / str(stated["file"])
    for key in _ONLY_BUILDS:
        if key in stated:
            raise ValueError(f"{key} is given beside file, but builds no space where one is read: remove one")
    known = _values(read_space(path))
    for key, value in known.items():
        found = sorted(stated.get(key, value)) if key == "sketches" else stated.get(key, value)
        if found != value:
            raise ValueError(f"{key} is {found!r}, but the space in {path.name} has {value!r}: remove {key}")
    return {**stated, **known, "file": path}


def require_extractor(space: Space, found: ExtractorIdentity, path: Path) -> None:
    """Raise unless the loaded network is that of a space file.

    Raises:
        SpaceMismatchError: Saying what differs.
    """
    expected = space.extractor
    if found == expected:
        return
    ours, theirs = found.plain(), expected.plain()
    differ = [
        f"{key} is {ours.get(key)}, expected {theirs[key]}" for key in theirs if ours.get(key) != theirs[key]
    ]
    raise SpaceMismatchError(
        f"the network that [space] names is not that of {path.name}: {'; '.join(differ)}",
        remedy="name the weights with which the space was made, in weights and weights_sha256",
    )


def _values(space: Space) -> dict[str, Any]:
    extractor = space.extractor
    return {
        "library": extractor.library,
        "extractor": extractor.name,
        "image_size": extractor.transform.image_size,
        "preprocessing": extractor.transform.preprocessing,
        "layers": list(extractor.layers),
        "bins": space.n_bins,
        "binning": space.binning,
        "sketches": sorted(space.sketches),
    }
