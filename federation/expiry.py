"""When something that ends must be said aloud: one rule for checks, status and metrics."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

WARN_DAYS = 30
"""Days ahead of an end at which it is warned of."""

_DAY = 86_400.0


class Urgency(StrEnum):
    """What an end asks of people."""

    OK = "ok"
    SOON = "soon"
    OVER = "over"


@dataclass(frozen=True)
class Expiry:
    """The end of something, seen from a moment.

    Args:
        what: What ends, as a sentence begins with it: "the certificate of the hub".
        at: Unix time of its end, in seconds.
        days: Whole days that are left; below 0 once it is over.
        urgency: What the end asks of people.
    """

    what: str
    at: float
    days: int
    urgency: Urgency

    def __str__(self) -> str:
        day = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d")
        if self.urgency is Urgency.OVER:
            return f"{self.what} ended on {day}"
        return f"{self.what} ends on {day}, in {self.days} day{'' if self.days == 1 else 's'}"


def expiry_of(what: str, at: float, now: float) -> Expiry:
    """Return what is to be said of an end.

    Args:
        what: What ends.
        at: Unix time of its end, in seconds.
        now: Unix time in seconds.
    """
    days = math.floor((at - now) / _DAY)
    if now >= at:
        return Expiry(what, at, days, Urgency.OVER)
    return Expiry(what, at, days, Urgency.SOON if days < WARN_DAYS else Urgency.OK)
