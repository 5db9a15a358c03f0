"""How long something takes."""

import time
from collections.abc import Callable


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def clock_and_processor(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall-clock seconds and the processor seconds of one call."""
    before = time.process_time()
    seconds = seconds_of(work)
    return seconds, time.process_time() - before
