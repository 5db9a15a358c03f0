"""How long a site waits before it looks again."""

import random
import time
from collections.abc import Callable, Iterator

_BUSY_S, _IDLE_S, _SETTLING_S = 0.5, 3.0, 60.0
_FIRST_S, _LONGEST_S = 0.5, 30.0


class IdlePauses:
    """Pauses between looks for a message: short after one, longer when none has come for a minute.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began_at = clock, clock()

    def next(self) -> float:
        """Return the next pause in seconds."""
        quiet_s = max(0.0, self._clock() - self._began_at - _SETTLING_S)
        return min(_IDLE_S, _BUSY_S + quiet_s / _SETTLING_S) * _jitter()


def reconnecting_pauses() -> Iterator[float]:
    """Yield pauses in seconds between attempts to connect; they grow, and have no end."""
    pause_s = _FIRST_S
    while True:
        yield pause_s * _jitter()
        pause_s = min(2 * pause_s, _LONGEST_S)


def _jitter() -> float:
    """Return a factor around 1: the sites of a consortium must not come back all at once."""
    return random.uniform(0.7, 1.3)  # noqa: S311
