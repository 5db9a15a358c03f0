"""Tree heads: what a log is at one size, signed by its aggregator and co-signed by the sites that saw it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from federation.canonical import canonical_json, sha256_hex
from federation.errors import LogError
from federation.identity import Identity, verify
from federation.log.merkle import HASH_BYTES

_HEAD_DOMAIN, _WITNESS_DOMAIN = b"fedprint tree head 1\n", b"fedprint witness 1\n"
_SHORT_GROUPS, _GROUP = 8, 5  # 40 digits


@dataclass(frozen=True)
class TreeHead:
    """What is signed of a log at one size.

    Args:
        log_id: SHA-256 of the aggregator's public key, 64 hexadecimal digits.
        size: Number of entries.
        root: Root of the tree over them, 32 bytes.
        timestamp: Unix time in milliseconds; that of a later head is larger.
    """

    log_id: str
    size: int
    root: bytes
    timestamp: int

    def message(self) -> bytes:
        """Return the bytes that the aggregator signs."""
        return _HEAD_DOMAIN + canonical_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the head as JSON can hold it."""
        return {"log": self.log_id, "size": self.size, "root": self.root.hex(), "timestamp": self.timestamp}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TreeHead":
        """Read a head.

        Raises:
            LogError: If the value is none.
        """
        try:
            root = bytes.fromhex(value["root"])
            head = cls(str(value["log"]), _count(value["size"]), root, _count(value["timestamp"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LogError(f"a tree head is malformed ({type(error).__name__})") from error
        if len(root) != HASH_BYTES:
            raise LogError(f"the root of a tree head has {len(root)} bytes, expected {HASH_BYTES}")
        return head


@dataclass(frozen=True)
class SignedHead:
    """A head and the aggregator's signature.

    Args:
        head: The head.
        key: Public key of the aggregator, 64 hexadecimal digits; the log's id is its hash.
        signature: 64 bytes, Ed25519.
    """

    head: TreeHead
    key: str
    signature: bytes

    @classmethod
    def sign(cls, aggregator: Identity, size: int, root: bytes, timestamp: int) -> "SignedHead":
        """Return the signed head of the aggregator's own log."""
        head = TreeHead(log_id(aggregator.public_key), size, root, timestamp)
        return cls(head, aggregator.public_key, aggregator.sign(head.message()))

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.head.size

    @property
    def root(self) -> bytes:
        """Root of the tree over them, 32 bytes."""
        return self.head.root

    def verify(self) -> None:
        """Raise unless the key signed the head, and the log is that key's.

        Raises:
            LogError: If the log is another key's.
            SignatureError: If the signature is wrong.
        """
        if log_id(self.key) != self.head.log_id:
            raise LogError(
                f"a tree head of log {self.head.log_id[:12]} names the key {self.key[:12]}… of another log"
            )
        verify(self.key, self.signature, self.head.message(), f"the tree head of size {self.size}")

    def to_json(self) -> dict[str, Any]:
        """Return the signed head as JSON can hold it."""
        return {"head": self.head.to_json(), "key": self.key, "signature": self.signature.hex()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "SignedHead":
        """Read a signed head; ``verify`` says whether to believe it.

        Raises:
            LogError: If the value is none.
        """
        try:
            signature = bytes.fromhex(value["signature"])
            return cls(TreeHead.from_json(value["head"]), _hex(value["key"]), signature)
        except (KeyError, TypeError, ValueError) as error:
            raise LogError(f"a signed tree head is malformed ({type(error).__name__})") from error


@dataclass(frozen=True)
class CoSignedHead:
    """A signed head that a site has verified against everything it knew.

    Args:
        signed: The head and the aggregator's signature.
        site: Name of the site.
        key: Public key of the site, 64 hexadecimal digits.
        signature: The site's, 64 bytes, Ed25519.
    """

    signed: SignedHead
    site: str
    key: str
    signature: bytes

    @classmethod
    def by(cls, site: Identity, signed: SignedHead) -> "CoSignedHead":
        """Return the head, co-signed by a site."""
        return cls(signed, site.name, site.public_key, site.sign(_witnessed(signed.head, site.name)))

    def verify(self) -> None:
        """Raise unless aggregator and site signed the head under the keys that it names.

        Raises:
            LogError: If the log is another key's.
            SignatureError: If a signature is wrong.
        """
        self.signed.verify()
        message = _witnessed(self.signed.head, self.site)
        verify(self.key, self.signature, message, f"the tree head that site {self.site} co-signed")

    def to_json(self) -> dict[str, Any]:
        """Return the co-signed head as JSON can hold it."""
        own = {"site": self.site, "site_key": self.key, "site_signature": self.signature.hex()}
        return {**self.signed.to_json(), **own}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CoSignedHead":
        """Read a co-signed head; ``verify`` says whether to believe it.

        Raises:
            LogError: If the value is none.
        """
        try:
            signature = bytes.fromhex(value["site_signature"])
            signed = SignedHead.from_json(value)
            return cls(signed, str(value["site"]), _hex(value["site_key"]), signature)
        except (KeyError, TypeError, ValueError) as error:
            raise LogError(f"a co-signed tree head is malformed ({type(error).__name__})") from error


def log_id(public_key: str) -> str:
    """Return the id of the log of an aggregator's public key (64 hexadecimal digits)."""
    return sha256_hex(bytes.fromhex(public_key))


def short_form(root: bytes) -> str:
    """Return what two people compare by phone: 160 bits of a root in groups of five digits.

    An aggregator could look for two logs that agree in few digits; in 160 bits it finds none.
    """
    digits = root.hex()
    return " ".join(digits[i * _GROUP : (i + 1) * _GROUP] for i in range(_SHORT_GROUPS))


def _witnessed(head: TreeHead, site: str) -> bytes:
    return _WITNESS_DOMAIN + canonical_json({"head": head.to_json(), "site": site})


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("no number of entries or milliseconds")
    return value


def _hex(value: object) -> str:
    if not isinstance(value, str) or len(bytes.fromhex(value)) != HASH_BYTES:
        raise ValueError("no public key")
    return value
