"""Sealing: bytes that only the holders of named keys can read.

A fresh *content key* encrypts the content once. For every recipient it is *wrapped* under a key that only
that recipient can derive from one ephemeral X25519 key. Recipients are not named: each tries every one.

A recipient is an Ed25519 identity, mapped to the X25519 key of the same point (RFC 7748, section 4.1; age
does so with SSH keys). That one key both signs and agrees is sound here: a signature hashes with SHA-512 what
begins with the secret prefix or a curve point, a shared secret goes only through HKDF with SHA-256 and a
label, so neither use answers a question about the other (E. Thormarker, *On using the same key pair for
Ed25519 and an X25519 based KEM*, 2021, proves it in the random oracle model). It spares every site a second
key that could be lost or mixed up, and that somebody would have to compare by phone.

Nothing here says who sealed: whoever needs to know signs first and seals the signature too.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federation.errors import SealError
from federation.identity import Identity

MAX_RECIPIENTS = 4096
MAX_CONTENT_BYTES = 2**31 - 2**16
"""What one call of the cipher takes, less its tag."""

_PROTOCOL = b"fedprint sealed 1"
_KEY_BYTES, _TAG_BYTES = 32, 16
_WRAPPED_BYTES = _KEY_BYTES + _TAG_BYTES
_NONCE = bytes(12)
"""Every key encrypts once, so that its nonce need not change."""

_P = 2**255 - 19
_A = 486662
_PROBE = X25519PrivateKey.from_private_bytes(bytes(31) + b"\x40")


@dataclass(frozen=True)
class Sealed:
    """Bytes under seal.

    Args:
        keys: The ephemeral public key, 32 bytes, and the content key wrapped for each recipient, 48 each.
        content: The encrypted content, 16 bytes longer than it was.
    """

    keys: bytes
    content: bytes = field(repr=False)


def seal(content: bytes, recipients: Sequence[bytes], purpose: bytes) -> Sealed:
    """Seal bytes for some recipients.

    Args:
        content: At most ``MAX_CONTENT_BYTES``.
        recipients: X25519 public keys, 32 bytes each.
        purpose: What it is for; it opens for nothing else.

    Raises:
        SealError: If there are no or too many recipients, one of them is impossible, or it is too large.
    """
    _check_sizes(len(recipients), len(content))
    ephemeral, content_key = X25519PrivateKey.generate(), os.urandom(_KEY_BYTES)
    public = ephemeral.public_key().public_bytes_raw()
    about = _label(purpose, public, len(recipients).to_bytes(4, "big"))
    wrapped = [
        ChaCha20Poly1305(
            _wrapping_key(_agree(ephemeral, recipient), purpose, public, recipient, position)
        ).encrypt(_NONCE, content_key, about)
        for position, recipient in enumerate(recipients)
    ]
    keys = b"".join((public, *wrapped))
    return Sealed(keys, ChaCha20Poly1305(content_key).encrypt(_NONCE, content, _label(purpose, keys)))


def unseal(sealed: Sealed, private_key: X25519PrivateKey, purpose: bytes) -> bytes:
    """Return what was sealed for the holder of a key.

    Args:
        sealed: What was received; nothing of it is believed.
        private_key: The key.
        purpose: What it should be for.

    Raises:
        SealError: If it was sealed for others or for another purpose, is altered, or too large.
    """
    n, rest = divmod(len(sealed.keys) - _KEY_BYTES, _WRAPPED_BYTES)
    if rest:
        raise SealError("a sealed message is malformed: its keys are cut off")
    _check_sizes(n, len(sealed.content) - _TAG_BYTES)
    cipher = ChaCha20Poly1305(_content_key(sealed.keys, n, private_key, purpose))
    try:
        return cipher.decrypt(_NONCE, sealed.content, _label(purpose, sealed.keys))
    except InvalidTag as error:
        raise SealError("a sealed message was altered on its way", remedy="have it sent again") from error


@lru_cache(maxsize=MAX_RECIPIENTS)
def agreement_key(public_key: str) -> bytes:
    """Return the X25519 public key, 32 bytes, of an Ed25519 identity.

    The map is u = (1 + y) / (1 − y) (RFC 7748, section 4.1).

    Args:
        public_key: 64 hexadecimal digits.

    Raises:
        SealError: If that is no point of the curve, or one of small order, whose secrets everybody knows.
    """
    try:
        y = int.from_bytes(_exactly_32(public_key), "little") & (2**255 - 1)
        if y >= _P:
            raise ValueError("not reduced")
        u = (1 + y) * pow(1 - y, -1, _P) % _P
        _require_on_curve(u)
        agreed = u.to_bytes(_KEY_BYTES, "little")
        _PROBE.exchange(X25519PublicKey.from_public_bytes(agreed))
    except ValueError as error:
        raise SealError(
            f"nothing can be sealed for the key {public_key[:12]}…, which is no point of Curve25519",
            remedy="compare the key of the site or aggregator by phone, and enrol it again",
        ) from error
    return agreed


def agreement_private_key(identity: Identity) -> X25519PrivateKey:
    """Return the X25519 private key of an identity: the scalar with which it also signs (RFC 8032)."""
    seed = identity.private_key.private_bytes_raw()
    return X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:_KEY_BYTES])


def require_agreement_key(public_key: str) -> bytes:
    """Return an X25519 public key given as 64 hexadecimal digits.

    Raises:
        SealError: If it is none, or one of small order.
    """
    try:
        key = _exactly_32(public_key)
        _PROBE.exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError as error:
        raise SealError(f"nothing can be sealed for the impossible key {public_key[:12]}…") from error
    return key


def _content_key(keys: bytes, n: int, private_key: X25519PrivateKey, purpose: bytes) -> bytes:
    public, ours = keys[:_KEY_BYTES], private_key.public_key().public_bytes_raw()
    secret, about = _agree(private_key, public), _label(purpose, public, n.to_bytes(4, "big"))
    for position in range(n):
        start = _KEY_BYTES + position * _WRAPPED_BYTES
        cipher = ChaCha20Poly1305(_wrapping_key(secret, purpose, public, ours, position))
        try:
            return cipher.decrypt(_NONCE, keys[start : start + _WRAPPED_BYTES], about)
        except InvalidTag:
            continue
    raise SealError(
        f"a message for {n} keys is not sealed for this one, or for another purpose",
        remedy="compare this key with the one that the other side has on its list",
    )


def _wrapping_key(secret: bytes, purpose: bytes, public: bytes, recipient: bytes, position: int) -> bytes:
    info = _label(purpose, public, recipient, position.to_bytes(4, "big"))
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(secret)


def _agree(ours: X25519PrivateKey, theirs: bytes) -> bytes:
    try:
        return ours.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:
        raise SealError("a sealed message names an impossible key") from error


def _check_sizes(n_recipients: int, n_bytes: int) -> None:
    if not 1 <= n_recipients <= MAX_RECIPIENTS:
        raise SealError(f"a message is sealed for {n_recipients} keys, expected 1 to {MAX_RECIPIENTS}")
    if not 0 <= n_bytes <= MAX_CONTENT_BYTES:
        raise SealError(f"a sealed message of {n_bytes} bytes is not within 0 to {MAX_CONTENT_BYTES}")


def _require_on_curve(u: int) -> None:
    """Raise unless u belongs to a point of Curve25519, and not of its twist: v² must be a square."""
    if pow(u * (u * u + _A * u + 1) % _P, (_P - 1) // 2, _P) != 1:
        raise ValueError("not on the curve")


def _exactly_32(digits: str) -> bytes:
    key = bytes.fromhex(digits)
    if len(key) != _KEY_BYTES:
        raise ValueError("not 32 bytes")
    return key


def _label(*parts: bytes) -> bytes:
    """Return bytes that no other parts give: every part is preceded by its length."""
    return b"".join((_PROTOCOL, b"\n", *(len(part).to_bytes(4, "big") + part for part in parts)))
