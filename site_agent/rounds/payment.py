"""What shows that a round was paid for: the ledger must know of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation.container import read_head, unpack_header
from federation.errors import FingerprintError

ROUNDS = "rounds"
"""Folder of a site's rounds within its state folder."""

ROUND_FILE = "round.safetensors"
"""The file of a round within its own folder."""


@dataclass(frozen=True)
class Payment:
    """The entry of the ledger that paid for a contribution.

    Args:
        at: Unix time in seconds.
        seq: Number of the entry.
        hash: Its hash.
        rho: What it cost, an exact fraction.
    """

    at: float
    seq: int
    hash: str
    rho: str


def round_paths(state: Path) -> tuple[Path, ...]:
    """Return the file of every round in a site's state folder."""
    return tuple(sorted((state / ROUNDS).glob(f"*/{ROUND_FILE}")))


def round_header(path: Path) -> dict[str, Any]:
    """Return what the file of a round says first, without its arrays.

    Raises:
        FingerprintError: If it is damaged.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        return unpack_header(read_head(file.read), "a round")


def payments(state: Path) -> Iterator[tuple[Path, Payment | None]]:
    """Return what paid for which round; None where the file cannot be read.

    Args:
        state: The site's state folder.
    """
    for path in round_paths(state):
        try:
            told = round_header(path)["payment"]
            if told is not None:
                yield path, Payment(**told)
        except (OSError, FingerprintError, KeyError, TypeError):
            yield path, None
