"""Which files of a hub's folder a backup holds.

Everything but what can be made again, what belongs to Flower, and what is in the rows: a file that a later
version adds is rather backed up than forgotten.
"""

from collections.abc import Iterator
from pathlib import Path

from aggregator.hub_folder import HubFolder

_LEFT_OUT = (".sqlite", ".sqlite-wal", ".sqlite-shm", ".lock", ".sock", ".pid", ".tar")
_MAPPED = ".mapped"
_PEM_KEY = b"PRIVATE KEY-----"


def kept_files(folder: Path, below: str = "") -> Iterator[str]:
    """Yield the names of files to back up, relative to a hub's folder, in a fixed order.

    Args:
        folder: The hub's folder.
        below: Only in this folder within it; by default in all but those that are left out.
    """
    hub = HubFolder(folder)
    for path in sorted((folder / below).rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        again = any(part.endswith(_MAPPED) for part in name.parts) or path.suffix in _LEFT_OUT
        foreign = hub.flower in path.parents or hub.logs in path.parents
        if path.is_file() and not path.is_symlink() and not (hidden or again or foreign):
            yield name.as_posix()


def is_private_key(path: Path) -> bool:
    """Return whether a file holds a private key."""
    return path.suffix == ".key" or _PEM_KEY in path.read_bytes()[:4096]
