"""An image that could not be used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BadImage:
    """An image that could not be used.

    Args:
        name: What a person would call it.
        reason: Why, without the name.
    """

    name: str
    reason: str
