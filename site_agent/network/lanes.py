"""Runs a network on every core at once, each core on its own images.

Splitting every operator over all cores makes them wait for each other a hundred times per batch; as soon as
another thread decodes images, each wait lasts until that thread has had its turn. Independent lanes meet once
per call. They also make features independent of the number of cores.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
Part = TypeVar("Part")


class Lanes:
    """Worker threads, each with one core to itself.

    Args:
        n: How many.
    """

    def __init__(self, n: int) -> None:
        self._pool = ThreadPoolExecutor(n, thread_name_prefix="fedprint-lane", initializer=_keep_to_one_core)
        threads = torch.get_num_threads()
        started = threading.Barrier(n + 1)
        for _ in range(n):
            self._pool.submit(started.wait)
        started.wait()
        # Setting it in a worker also sets what threads started later begin with.
        torch.set_num_threads(threads)

    def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, done in one lane."""
        return self._pool.submit(work).result()

    def map(self, run: Callable[[Part], T], parts: Sequence[Part]) -> list[T]:
        """Return ``run`` of every part, in order; several threads may call this at once."""
        return list(self._pool.map(run, parts))


def _keep_to_one_core() -> None:
    # A thread's first use of torch would take the process's number again, even after another was set.
    torch.get_num_threads()
    torch.set_num_threads(1)
