"""Ed25519 identities: who signed which bytes."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from federation.errors import SignatureError, StoreError
from federation.files import create_atomically

_KEY_BYTES = 32


@dataclass(frozen=True)
class Identity:
    """Who signs, a site or an aggregator: a name and a signing key, which never appears in ``repr``.

    Args:
        name: Name of the site or of the aggregator.
        private_key: Ed25519 key that stays where it was made.
    """

    name: str
    private_key: Ed25519PrivateKey = field(repr=False)

    @property
    def public_key(self) -> str:
        """The public key as 64 hexadecimal digits, as rosters list it."""
        return self.private_key.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of a message."""
        return self.private_key.sign(message)

    @classmethod
    def load(cls, name: str, path: Path) -> "Identity":
        """Read a key that must exist.

        Raises:
            StoreError: If it does not, is not a key of ours or cannot be read.
        """
        if not path.exists():
            raise StoreError(
                f"the signing key {path} of {name} is missing",
                remedy="restore it from backup; a new one would be a stranger's to everybody else",
            )
        return cls.load_or_create(name, path)

    @classmethod
    def load_or_create(cls, name: str, path: Path) -> "Identity":
        """Read a key, or make one that only the owner of the file can read.

        Raises:
            StoreError: If the file is not a key of ours or cannot be read or written.
        """
        try:
            return cls(name, Ed25519PrivateKey.from_private_bytes(_read_or_create_key(path)))
        except OSError as error:
            raise StoreError(
                f"signing key {path} of {name} cannot be read or written: {error.strerror}",
                remedy="check the folder's permissions and free space",
            ) from error
        except ValueError as error:
            raise StoreError(
                f"{path} does not hold the signing key of {name}",
                remedy="restore the file from backup, or remove it to begin again with a new key",
            ) from error


def verify(public_key: str, signature: bytes, message: bytes, what: str) -> None:
    """Raise unless ``signature`` is that of ``message`` under ``public_key``.

    Args:
        public_key: 64 hexadecimal digits.
        signature: 64 bytes.
        message: The signed bytes.
        what: What the bytes are, for the message of the error.

    Raises:
        SignatureError: If the signature or the key is wrong.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            f"the signature of {what} does not match the key {public_key[:12]}…",
            remedy="ask for it to be sent again; if it persists, compare the sender's key by phone",
        ) from error


def _read_or_create_key(path: Path) -> bytes:
    if not path.exists():
        create_atomically(path, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode())
    key = bytes.fromhex(path.read_text("ascii").strip())
    if len(key) != _KEY_BYTES:
        raise ValueError
    return key
