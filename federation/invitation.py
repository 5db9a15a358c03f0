"""One file that a hub gives to a hospital: all that it needs to ask for membership, no secret of it."""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from federation.address import is_address
from federation.canonical import sha256_hex
from federation.certificate_file import authority_sha256, is_authority_file
from federation.errors import EnrolmentError, FedprintError
from federation.identity import Identity
from federation.membership import is_site_name
from federation.signed_document import DocumentKind, is_key, is_text, is_time
from federation.space import Space

DAYS_VALID = 14
_MOST_BYTES = 64 * 2**20


def _is_space(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and 0 < len(value) < _MOST_BYTES


_INVITATION = DocumentKind(
    "invitation",
    {
        "site": is_site_name,
        "consortium": is_text,
        "address": is_address,
        "ca_certificate": is_authority_file,
        "hub_key": is_key,
        "space_id": is_key,
        "space": _is_space,
        "bundle": is_key,
        "token": is_key,
        "issued": is_time,
        "expires": is_time,
    },
    most_bytes=_MOST_BYTES,
)


@dataclass(frozen=True)
class Invitation:
    """An invitation of one site, signed by the key that it names; people compare that key by telephone.

    Args:
        site: The only name under which the site may enrol.
        consortium: Name of the consortium.
        address: host:port of the hub.
        ca_certificate: Certificate of the consortium's authority, PEM.
        hub_key: The hub's Ed25519 key, 64 hexadecimal digits.
        space_id: Id of the space that all sites work in.
        space: The space's file, base64.
        bundle: SHA-256 of the app bundle that the hub runs.
        token: One-time token, 64 hexadecimal digits.
        issued: Unix time in whole seconds.
        expires: Unix time in whole seconds at which it is refused.
        signature: The hub's Ed25519 signature, 128 hexadecimal digits.
    """

    site: str
    consortium: str
    address: str
    ca_certificate: str
    hub_key: str
    space_id: str
    space: str
    bundle: str
    token: str
    issued: int
    expires: int
    signature: str = ""

    def __repr__(self) -> str:
        return f"Invitation(site={self.site!r}, consortium={self.consortium!r}, expires={self.expires})"

    @property
    def ca_sha256(self) -> str:
        """SHA-256 of the authority's certificate."""
        return authority_sha256(self.ca_certificate.encode())

    @property
    def space_file(self) -> bytes:
        """Bytes of the space's file."""
        return base64.b64decode(self.space, validate=True)

    def signed(self, hub: Identity) -> Self:
        """Return the invitation signed by the hub."""
        return replace(self, signature=_INVITATION.sign(_values(self), hub))

    def to_bytes(self) -> bytes:
        """Return its file."""
        return _INVITATION.encode(_values(self), self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an invitation; that its key is the hub's remains to be compared by people.

        Raises:
            EnrolmentError: If it is malformed or its space is not the one it names.
            SignatureError: If it was altered.
        """
        values, signature = _INVITATION.decode(data)
        _INVITATION.verify(values, signature, values["hub_key"])
        found = cls(**values, signature=signature)
        found._check_space()
        return found

    def check_time(self, now: float) -> None:
        """Raise unless it can be answered now.

        Raises:
            EnrolmentError: If it has expired, or lies in the future by a clock that is wrong.
        """
        if now >= self.expires:
            raise EnrolmentError(
                f"the invitation of {self.site} has expired",
                remedy=f"ask the operator of {self.consortium} for a new one",
            )
        if now < self.issued - _CLOCK_S:
            raise EnrolmentError(
                "the invitation was issued in the future", remedy="set this machine's clock (NTP)"
            )

    def _check_space(self) -> None:
        try:
            same = Space.from_bytes(self.space_file).space_id == self.space_id
        except (ValueError, FedprintError):
            same = False
        if not same:
            raise EnrolmentError(
                "the space in the invitation is not the one that it names",
                remedy="ask the operator for a new invitation, made with the same version of fedprint",
            )


_CLOCK_S = 600


def encode_space(data: bytes) -> str:
    """Return a space's file as an invitation carries it."""
    return base64.b64encode(data).decode()


def token_hash(token: str) -> str:
    """Return what a hub keeps of a one-time token."""
    return sha256_hex(b"fedprint invitation token\n" + token.encode())


def is_token(token: str, kept: str) -> bool:
    """Return whether a token is the one whose hash was kept, in constant time."""
    return hmac.compare_digest(token_hash(token), kept)


def _values(document: Invitation) -> Mapping[str, Any]:
    names = (field.name for field in fields(document))
    return {name: getattr(document, name) for name in names if name != "signature"}
