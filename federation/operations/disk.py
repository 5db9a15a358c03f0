"""Whether there is room to work."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from federation.errors import StoreError

LEAST_FREE = 256 * 2**20
"""Bytes; with less a hub or site no longer says that it is ready."""


@dataclass(frozen=True)
class Disk:
    """The file system that a folder lies on.

    Args:
        free: Bytes that may still be written.
        total: Its size in bytes.
    """

    free: int
    total: int

    @property
    def is_enough(self) -> bool:
        """Whether work can go on."""
        return self.free >= LEAST_FREE

    @classmethod
    def of(cls, folder: Path) -> "Disk":
        """Return the file system of a folder.

        Raises:
            StoreError: If the folder cannot be reached.
        """
        try:
            usage = shutil.disk_usage(folder)
        except OSError as error:
            raise StoreError(
                f"the folder {folder} cannot be reached: {error.strerror}", remedy="mount or create it"
            ) from error
        return cls(usage.free, usage.total)
