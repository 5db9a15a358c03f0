"""Memberships, hubs and node keys for tests."""

from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.files import write_atomically
from federation.identity import Identity
from federation.membership import Membership, Revocation
from federation.node_key import new_node_key, public_text, read_node_key

DAY = 86_400
NOW = 1_800_000_000
NODE_KEY = public_text(read_node_key(new_node_key()))


def new_identity(name: str) -> Identity:
    """Return an identity that is on no disk."""
    return Identity(name, Ed25519PrivateKey.generate())


HUB = new_identity("Hearts")
MEMBERSHIP = Membership("anna", "Hearts", "ab" * 32, NODE_KEY, 1, NOW - DAY, NOW + 100 * DAY)


def membership(hub: Identity = HUB, **changes: object) -> Membership:
    """Return a signed membership."""
    return replace(MEMBERSHIP, **changes).signed(hub)  # type: ignore[arg-type]


def put(folder: Path, member: Membership) -> None:
    """Put a membership into a members folder."""
    write_atomically(folder / f"{member.site}.json", member.to_bytes())


def revoke(folder: Path, site: str, serial: int, hub: Identity = HUB) -> None:
    """Put a revocation into a members folder."""
    revocation = Revocation(site, "Hearts", serial, NOW, "left").signed(hub)
    write_atomically(folder / "revoked" / f"{site}.json", revocation.to_bytes())
