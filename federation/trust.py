"""Trust modes: what a site lets leave for a task."""

from enum import StrEnum

MEMBERSHIP_WARNING = (
    "trust mode 'open' releases exact histograms: anyone who holds a patient's image can tell from them "
    "whether that patient is in the dataset. Use it for public datasets only."
)


class TrustMode(StrEnum):
    """From strictest to most open; the default everywhere is ``LISTEN``."""

    LISTEN = "listen"
    POOLED = "pooled"
    PRIVATE = "private"
    OPEN = "open"
