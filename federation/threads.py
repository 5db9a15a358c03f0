"""Independent work on all cores; NumPy, SciPy and the verifying of signatures release the interpreter."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")

WORKERS = min(8, os.cpu_count() or 1)


def for_each(parts: Sequence[Part], work: Callable[[Part], None]) -> None:
    """Do the work for every part; the first error stops it and is raised."""
    if len(parts) < 2 or WORKERS < 2:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(work, parts):
            pass
