"""What may leave a site as the reason of an error: a code of a fixed list, never a text."""

from collections.abc import Iterator

from federation import reply_words
from federation.errors import FedprintError

INTERNAL = "internal"
NOT_LOADED, RAISED, NODE_UNAVAILABLE, NOT_APPROVED, CRASHED = 1, 2, 5, 7, 8
"""Error codes of Flower."""

_REASONS = {
    NOT_LOADED: "app-not-loaded",
    RAISED: INTERNAL,
    NODE_UNAVAILABLE: reply_words.UNAVAILABLE,
    NOT_APPROVED: "bundle-not-approved",
    CRASHED: reply_words.CRASHED,
}


def reason_of(code: int, told: str | None) -> str:
    """Return what may be told about an error.

    Args:
        code: Flower's error code.
        told: The reason that somebody gave; it stays only if it is one of our codes.
    """
    if code in _REASONS:
        return _REASONS[code]
    return told if told in _OUR_CODES else INTERNAL


def _codes(kind: type[FedprintError]) -> Iterator[str]:
    yield kind.code
    for more in kind.__subclasses__():
        yield from _codes(more)


_OUR_CODES = frozenset(_codes(FedprintError))
