"""The keys of a round: who signs what, which secret two sites share, and what is derived from it.

Signatures are made with long-term Ed25519 identities and always cover the digest of the terms, so that sites
which were asked different things refuse each other. Everything derived is bound to the *session*, the hash of
the terms and of everybody's keys.
"""

import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federation.canonical import canonical_json
from federation.errors import RosterError, ShareError
from federation.secagg.messages import Advertisement, Directory, Survivors
from federation.secagg.terms import PROTOCOL, Terms

Randomness = Callable[[int], bytes]
_PROBE = X25519PrivateKey.from_private_bytes(bytes(31) + b"\x40")
_NONCE = bytes(12)
"""Every sealing key seals one message, so that its nonce need not change."""


def public_key(seed: bytes) -> bytes:
    """Return the X25519 public key of a 32-byte seed."""
    return private_key(seed).public_key().public_bytes_raw()


def commitment(terms: Terms, site: str, seed: bytes) -> bytes:
    """Return what a site commits to the seed of its own mask with, 32 bytes."""
    return hashlib.sha256(_label("own mask", terms.digest, site.encode()) + seed).digest()


def advertised(terms: Terms, site: str, keys: bytes) -> bytes:
    """Return what a site signs when it advertises its keys."""
    return _label("advertise", terms.digest, site.encode()) + keys


def signed_keys(advertisement: Advertisement) -> bytes:
    """Return the part of an advertisement that is signed."""
    return advertisement.cipher_key + advertisement.mask_key + advertisement.commitment


def session_of(terms: Terms, directory: Directory) -> bytes:
    """Return the hash of the terms and of everybody's advertisement, 32 bytes."""
    sites = canonical_json(directory.body())
    hashed = hashlib.sha256(_label("session", terms.digest, sites))
    for content in directory.blobs().values():
        hashed.update(content)
    return hashed.digest()


def confirmed(session: bytes, survivors: Survivors) -> bytes:
    """Return what a site signs when it confirms the survivors."""
    return _label("confirm", session, hashlib.sha256(canonical_json(survivors.body())).digest())


def private_key(seed: bytes) -> X25519PrivateKey:
    """Return the X25519 private key of a 32-byte seed; making it costs as much as using it."""
    return X25519PrivateKey.from_private_bytes(seed)


def agree(ours: X25519PrivateKey, theirs: bytes, site: str) -> bytes:
    """Return the X25519 secret of our key and the public key of another site.

    Raises:
        RosterError: If that key is none, such as a point of small order.
    """
    try:
        return ours.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:
        raise RosterError(
            f"site {site} advertised an impossible key", remedy="start a round without that site"
        ) from error


def require_usable(theirs: bytes, site: str) -> None:
    """Raise RosterError if nobody could agree on a secret with a public key."""
    agree(_PROBE, theirs, site)


def pair_mask_key(secret: bytes, session: bytes, one: str, other: str) -> bytes:
    """Return the key of the mask that two sites share, whichever of them asks.

    The session binds it to round id, length and modulus.
    """
    return _derive(secret, _label("pair mask", session, *(site.encode() for site in sorted((one, other)))))


def own_mask_key(seed: bytes, session: bytes, site: str) -> bytes:
    """Return the key of a site's own mask."""
    return _derive(seed, _label("own mask", session, site.encode()))


def sealing_key(secret: bytes, session: bytes, sender: str, recipient: str) -> bytes:
    """Return the key under which one site sends the other its shares."""
    return _derive(secret, _label("shares", session, sender.encode(), recipient.encode()))


def seal(key: bytes, shares: bytes) -> bytes:
    """Return shares encrypted and authenticated; a key seals once."""
    return AESGCM(key).encrypt(_NONCE, shares, None)


def unseal(key: bytes, sealed: bytes, sender: str) -> bytes:
    """Return shares that were sealed.

    Raises:
        ShareError: If they were altered, or sealed by or for somebody else or in another session.
    """
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, None)
    except InvalidTag as error:
        raise ShareError(
            f"the shares of site {sender} are altered, or not meant for this site in this round",
            remedy="nothing of this site left; start another round",
        ) from error


def stream(seed: bytes, session: bytes, purpose: str) -> Randomness:
    """Return reproducible randomness, so that a step that is taken again gives the same bytes.

    Args:
        seed: 32 secret bytes.
        session: The session.
        purpose: What it is for; no two purposes share a stream.
    """
    key = _derive(seed, _label("randomness", session, purpose.encode()))
    keystream = Cipher(AES(key), CTR(bytes(16))).encryptor()
    return lambda n: keystream.update(bytes(n))


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def _label(what: str, *parts: bytes) -> bytes:
    """Return bytes that no other label or parts give: every part is preceded by its length."""
    return b"".join((PROTOCOL, b" ", what.encode(), b"\n", *(len(p).to_bytes(4, "big") + p for p in parts)))
