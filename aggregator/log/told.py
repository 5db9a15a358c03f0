"""What the log tells of things that enter the catalogue."""

from collections.abc import Iterable
from typing import Any

from aggregator.rounds.round_store import KeptRound
from federation.canonical import sha256_hex
from federation.fingerprint import Fingerprint


def told_of(fingerprint: Fingerprint, sites: Iterable[str] = ()) -> dict[str, Any]:
    """Return what is told of a fingerprint that is accepted: its address, its id, the hash of its bytes.

    Args:
        fingerprint: The fingerprint.
        sites: Whose sum it is; empty for one of a single site.
    """
    content = sha256_hex(fingerprint.to_bytes())
    told = {"task": fingerprint.key, "id": fingerprint.fingerprint_id, "content": content}
    return told | ({"sites": list(sites)} if sites else {})


def told_of_round(kept: KeptRound) -> dict[str, Any]:
    """Return what is told of a round to everybody whom its terms name: who left it, not why."""
    left = {step: sorted(departed) for step, departed in kept.departures().items()}
    return kept.told() | {"departures": left, "sites": list(kept.terms.members)}
