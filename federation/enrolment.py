"""What a site sends to be let in, or to change its node key: public keys, and proof that it holds them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec

from federation.canonical import canonical_json
from federation.comparison import Compared
from federation.identity import Identity
from federation.membership import is_site_name
from federation.node_key import is_public_text, sign_with_node_key, verify_node_signature
from federation.signed_document import DocumentKind, is_count, is_hex, is_key, is_text, is_time

_POSSESSION = b"fedprint possession of a node key\n"
_MOST_DER_BYTES = 110


def _is_node_signature(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 2 * _MOST_DER_BYTES and is_hex(value, len(value))


_COMMON = {
    "site": is_site_name,
    "consortium": is_text,
    "hub_key": is_key,
    "ca_sha256": is_key,
    "identity_key": is_key,
    "node_key": is_public_text,
    "made": is_time,
    "node_signature": _is_node_signature,
}
_ENROLMENT = DocumentKind("enrolment", {**_COMMON, "token": is_key})
_ROTATION = DocumentKind(
    "rotation", {**_COMMON, "serial": is_count, "previous_signature": _is_node_signature}
)


@dataclass(frozen=True)
class _Request:
    site: str
    consortium: str
    hub_key: str
    ca_sha256: str
    identity_key: str
    node_key: str
    made: int

    @property
    def compared(self) -> Compared:
        """What two people compare by telephone."""
        return Compared(
            self.consortium, self.hub_key, self.ca_sha256, self.site, self.identity_key, self.node_key
        )


@dataclass(frozen=True)
class Enrolment(_Request):
    """A site's answer to an invitation, signed with its identity key and with its node key.

    Args:
        site: Name of the site.
        consortium: Name of the consortium.
        hub_key: The hub's key as the site knows it, 64 hexadecimal digits.
        ca_sha256: SHA-256 of the authority's certificate as the site knows it.
        identity_key: The site's Ed25519 key, 64 hexadecimal digits.
        node_key: Public key of its node, as OpenSSH writes it.
        made: Unix time in whole seconds.
        token: The invitation's one-time token.
        node_signature: ECDSA signature with the node key, hexadecimal digits.
        signature: Ed25519 signature with the identity key, 128 hexadecimal digits.
    """

    token: str
    node_signature: str = ""
    signature: str = ""

    def signed(self, site: Identity, node_key: ec.EllipticCurvePrivateKey) -> Self:
        """Return the enrolment signed with both keys."""
        proven = replace(self, node_signature=sign_with_node_key(node_key, _possession(self)))
        return replace(proven, signature=_ENROLMENT.sign(_values(proven), site))

    def to_bytes(self) -> bytes:
        """Return its file."""
        return _ENROLMENT.encode(_values(self), self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an enrolment whose sender holds both keys; whose they are remains to be compared by people.

        Raises:
            EnrolmentError: If it is malformed.
            SignatureError: If a signature is wrong.
        """
        values, signature = _ENROLMENT.decode(data)
        _ENROLMENT.verify(values, signature, values["identity_key"])
        found = cls(**values, signature=signature)
        verify_node_signature(found.node_key, found.node_signature, _possession(found), "the enrolment")
        return found


@dataclass(frozen=True)
class Rotation(_Request):
    """A member's wish to change its node key, signed with its identity key, the new and the old node key.

    Args:
        site: Name of the site.
        consortium: Name of the consortium.
        hub_key: The hub's key as the site knows it, 64 hexadecimal digits.
        ca_sha256: SHA-256 of the authority's certificate as the site knows it.
        identity_key: The site's Ed25519 key, which stays.
        node_key: The new public key of its node, as OpenSSH writes it.
        made: Unix time in whole seconds.
        serial: The membership under which the old key is known.
        node_signature: ECDSA signature with the new node key, hexadecimal digits.
        previous_signature: ECDSA signature with the old node key, hexadecimal digits.
        signature: Ed25519 signature with the identity key, 128 hexadecimal digits.
    """

    serial: int
    node_signature: str = ""
    previous_signature: str = ""
    signature: str = ""

    def signed(
        self, site: Identity, node_key: ec.EllipticCurvePrivateKey, previous: ec.EllipticCurvePrivateKey
    ) -> Self:
        """Return the wish signed with all three keys."""
        message = _possession(self)
        proven = replace(
            self,
            node_signature=sign_with_node_key(node_key, message),
            previous_signature=sign_with_node_key(previous, message),
        )
        return replace(proven, signature=_ROTATION.sign(_values(proven), site))

    def to_bytes(self) -> bytes:
        """Return its file."""
        return _ROTATION.encode(_values(self), self.signature)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a wish whose sender holds the new keys; ``verify_previous`` remains to be called.

        Raises:
            EnrolmentError: If it is malformed.
            SignatureError: If a signature is wrong.
        """
        values, signature = _ROTATION.decode(data)
        _ROTATION.verify(values, signature, values["identity_key"])
        found = cls(**values, signature=signature)
        verify_node_signature(found.node_key, found.node_signature, _possession(found), "the rotation")
        return found

    def verify_previous(self, node_key: str) -> None:
        """Raise unless the holder of the old node key agreed.

        Args:
            node_key: The old public key, as OpenSSH writes it.

        Raises:
            SignatureError: If it did not.
        """
        verify_node_signature(node_key, self.previous_signature, _possession(self), "the rotation")


def is_rotation(data: bytes) -> bool:
    """Return whether a file says that it is a wish to change a node key; nothing of it is verified."""
    return b'"kind":"rotation"' in data[: _ROTATION.most_bytes]


def _possession(request: Enrolment | Rotation) -> bytes:
    """What node keys sign: all that the identity key signs but for the signatures of node keys."""
    own = {k: v for k, v in _values(request).items() if not k.endswith("_signature")}
    return _POSSESSION + canonical_json(own)


def _values(request: Enrolment | Rotation) -> Mapping[str, Any]:
    names = (field.name for field in fields(request))
    return {name: getattr(request, name) for name in names if name != "signature"}
