"""Proofs that sites ask the hub for, to compare heads of different sizes with each other."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from aggregator.log import storage
from aggregator.log.tree import StoredTree
from federation.errors import ConfigError
from federation.log.update import proof_to_json


@dataclass(frozen=True)
class GrowthProof:
    """Why the log of one size begins with the log of a smaller one.

    Args:
        old: Size of the smaller one.
        new: Size of the larger one.
        old_root: Root of the smaller one, 32 bytes.
        new_root: Root of the larger one, 32 bytes.
        proof: Hashes, 32 bytes each.
    """

    old: int
    new: int
    old_root: bytes
    new_root: bytes
    proof: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the proof as ``fedprint site verify --proof`` reads it."""
        roots = {"old_root": self.old_root.hex(), "new_root": self.new_root.hex()}
        return {"old": self.old, "new": self.new, **roots, "proof": proof_to_json(self.proof)}


def prove(connection: sa.Connection, old: int, new: int) -> GrowthProof:
    """Return the proof of consistency between two sizes of the log.

    Raises:
        ConfigError: If the log never had these sizes in that order.
        LogError: If the stored tree is damaged.
    """
    size = storage.size_of(connection)
    if not 0 < old <= new <= size:
        raise ConfigError(
            f"the log has {size} entries; there is no proof from {old} to {new}",
            remedy="name the smaller size first",
        )
    larger = StoredTree(connection, new)
    return GrowthProof(old, new, StoredTree(connection, old).root(), larger.root(), larger.consistency(old))
