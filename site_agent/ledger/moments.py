"""Unix times as people read them."""

from datetime import UTC, datetime


def moment(at: float) -> str:
    """Return a time to the minute."""
    return _formatted(at, "%Y-%m-%d %H:%M UTC")


def day(at: float) -> str:
    """Return the day of a time."""
    return _formatted(at, "%Y-%m-%d")


def _formatted(at: float, pattern: str) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime(pattern)
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s"  # a clock can say anything
