"""What a hub signs about a site that it let in, and about one that it put out."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from federation.errors import ConfigError, EnrolmentError
from federation.identity import Identity
from federation.names import check_name
from federation.node_key import is_public_text
from federation.signed_document import DocumentKind, is_count, is_key, is_text, is_time


def is_site_name(value: object) -> bool:
    """Return whether a value may name a site."""
    try:
        return isinstance(value, str) and check_name("site", value) == value
    except ConfigError:
        return False


_MEMBERSHIP = DocumentKind(
    "membership",
    {
        "site": is_site_name,
        "consortium": is_text,
        "identity_key": is_key,
        "node_key": is_public_text,
        "serial": is_count,
        "valid_from": is_time,
        "valid_until": is_time,
    },
)
_REVOCATION = DocumentKind(
    "revocation",
    {"site": is_site_name, "consortium": is_text, "serial": is_count, "at": is_time, "because": is_text},
)


@dataclass(frozen=True)
class Membership:
    """A site's place in a consortium for a while, signed by the hub.

    Args:
        site: Name of the site.
        consortium: Name of the consortium.
        identity_key: Ed25519 key that signs what the site says, 64 hexadecimal digits.
        node_key: Public key of the site's Flower node, as OpenSSH writes it.
        serial: Grows with every membership of the site.
        valid_from: Unix time in whole seconds, inclusive.
        valid_until: Unix time in whole seconds, exclusive.
        signature: The hub's Ed25519 signature, 128 hexadecimal digits.
    """

    site: str
    consortium: str
    identity_key: str
    node_key: str
    serial: int
    valid_from: int
    valid_until: int
    signature: str = ""

    def signed(self, hub: Identity) -> Self:
        """Return the membership signed by the hub."""
        return replace(self, signature=_MEMBERSHIP.sign(_values(self), hub))

    def verify(self, hub_key: str) -> None:
        """Raise unless the hub signed it.

        Raises:
            SignatureError: If it did not.
        """
        _MEMBERSHIP.verify(_values(self), self.signature, hub_key)

    def to_bytes(self) -> bytes:
        """Return its file."""
        return _MEMBERSHIP.encode(_values(self), self.signature)

    @classmethod
    def from_bytes(cls, data: bytes, hub_key: str) -> Self:
        """Read a membership that the hub signed, whether or not its time has come or gone.

        Raises:
            EnrolmentError: If it is malformed.
            SignatureError: If the hub did not sign it.
        """
        values, signature = _MEMBERSHIP.decode(data)
        found = cls(**values, signature=signature)
        found.verify(hub_key)
        if found.valid_until <= found.valid_from:
            raise EnrolmentError(f"the membership of {found.site} ends before it begins")
        return found

    def is_current(self, now: float) -> bool:
        """Return whether its time has come and is not over."""
        return self.valid_from <= now < self.valid_until


@dataclass(frozen=True)
class Revocation:
    """The end of a site's memberships up to one of them, signed by the hub.

    Args:
        site: Name of the site.
        consortium: Name of the consortium.
        serial: The last membership that is void.
        at: Unix time in whole seconds.
        because: Why, for people.
        signature: The hub's Ed25519 signature, 128 hexadecimal digits.
    """

    site: str
    consortium: str
    serial: int
    at: int
    because: str
    signature: str = ""

    def signed(self, hub: Identity) -> Self:
        """Return the revocation signed by the hub."""
        return replace(self, signature=_REVOCATION.sign(_values(self), hub))

    def to_bytes(self) -> bytes:
        """Return its file."""
        return _REVOCATION.encode(_values(self), self.signature)

    @classmethod
    def from_bytes(cls, data: bytes, hub_key: str) -> Self:
        """Read a revocation that the hub signed.

        Raises:
            EnrolmentError: If it is malformed.
            SignatureError: If the hub did not sign it.
        """
        values, signature = _REVOCATION.decode(data)
        _REVOCATION.verify(values, signature, hub_key)
        return cls(**values, signature=signature)


def _values(document: Membership | Revocation) -> Mapping[str, Any]:
    names = (field.name for field in fields(document))
    return {name: getattr(document, name) for name in names if name != "signature"}
