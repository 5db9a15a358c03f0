"""Folders on file systems of their own, which a test can fill up."""

import os
import shutil
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path


class SmallDisks:
    """Moves folders onto small file systems in memory; only root can.

    Args:
        parent: Where the folders are.
    """

    def __init__(self, parent: Path) -> None:
        self._parent, self._mounted = parent, []

    def move(self, name: str, megabytes: int) -> bool:
        """Move a folder that nobody uses yet; False: this user may not."""
        place, away = self._parent / name, self._parent / f"{name}.away"
        place.rename(away)
        place.mkdir(mode=0o700)
        size = f"size={megabytes}m,mode=700"
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", place], check=False)
        if mounted.returncode:
            place.rmdir()
            away.rename(place)
            return False
        self._mounted.append(place)
        shutil.copytree(away, place, dirs_exist_ok=True)
        shutil.rmtree(away)
        return True

    def holds(self, name: str) -> bool:
        """Return whether a folder has a disk of its own."""
        return self._parent / name in self._mounted

    @contextmanager
    def full(self, name: str):
        """Leave not one byte on the disk of a folder."""
        ballast = self._parent / name / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                with suppress(OSError):
                    while True:
                        file.write(os.urandom(size))
        try:
            yield
        finally:
            ballast.unlink()

    def close(self) -> None:
        """Take the file systems away with all that is on them."""
        for place in self._mounted:
            subprocess.run(["umount", "-l", place], check=False)
