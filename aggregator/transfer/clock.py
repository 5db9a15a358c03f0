"""Time as the scheduler sees it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and lets it pass."""

    def now(self) -> float:
        """Return Unix time in seconds."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""


class WallClock:
    """The clock on the wall."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)
