"""What sites and aggregator say in a round; each message is plain values and byte strings.

``body`` and ``blobs`` are what a signed envelope carries (federation/envelope.py); reading checks sizes and
names, never meaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from federation.errors import MessageError

KEY_BYTES, SIGNATURE_BYTES, SHARE_BYTES = 32, 64, 33
SEALED_BYTES = 2 * SHARE_BYTES + 16
"""Two shares and the tag of their authenticated encryption."""

Body = Mapping[str, Any]
Blobs = Mapping[str, bytes]
_ADVERTISEMENT_BYTES = 3 * KEY_BYTES + SIGNATURE_BYTES


@dataclass(frozen=True)
class Advertisement:
    """A site's keys for one round, signed by its long-term identity together with the digest of the terms.

    Args:
        cipher_key: X25519 public key that shares are sent under.
        mask_key: X25519 public key that pairwise masks follow from.
        commitment: SHA-256 commitment to the seed of the site's own mask.
        signature: Ed25519.
    """

    cipher_key: bytes
    mask_key: bytes
    commitment: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the 160 bytes of the advertisement."""
        return self.cipher_key + self.mask_key + self.commitment + self.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an advertisement.

        Raises:
            MessageError: If it is not 160 bytes long.
        """
        keys, signature = _cut(data, 1, _ADVERTISEMENT_BYTES, "an advertisement")[0][:96], data[96:]
        return cls(keys[:32], keys[32:64], keys[64:], signature)

    def body(self) -> Body:
        """Return the plain values."""
        return {}

    def blobs(self) -> Blobs:
        """Return the byte strings."""
        return {"advertisement": self.to_bytes()}

    @classmethod
    def from_parts(cls, body: Body, blobs: Blobs) -> Self:
        """Read a message; MessageError if it is malformed."""
        del body
        return cls.from_bytes(_blob(blobs, "advertisement"))


@dataclass(frozen=True)
class Directory:
    """Everybody's advertisement, which the aggregator passes on.

    Args:
        advertisements: Site → its advertisement.
    """

    advertisements: Mapping[str, Advertisement]

    def body(self) -> Body:
        """Return the plain values."""
        return {"sites": sorted(self.advertisements)}

    def blobs(self) -> Blobs:
        """Return the byte strings."""
        return {"directory": b"".join(self.advertisements[s].to_bytes() for s in sorted(self.advertisements))}

    @classmethod
    def from_parts(cls, body: Body, blobs: Blobs) -> Self:
        """Read a message; MessageError if it is malformed or names a site twice."""
        sites = _names(body, "sites")
        records = _cut(_blob(blobs, "directory"), len(sites), _ADVERTISEMENT_BYTES, "a directory")
        return cls(dict(zip(sites, map(Advertisement.from_bytes, records), strict=True)))


@dataclass(frozen=True)
class Sealed:
    """Encrypted shares: from one site to its neighbours, or from its neighbours to one site.

    Args:
        shares: The other site → 82 bytes.
    """

    shares: Mapping[str, bytes] = field(repr=False)

    def body(self) -> Body:
        """Return the plain values."""
        return {"sites": sorted(self.shares)}

    def blobs(self) -> Blobs:
        """Return the byte strings."""
        return {"shares": b"".join(self.shares[site] for site in sorted(self.shares))}

    @classmethod
    def from_parts(cls, body: Body, blobs: Blobs) -> Self:
        """Read a message; MessageError if it is malformed or names a site twice."""
        sites = _names(body, "sites")
        sealed = _cut(_blob(blobs, "shares"), len(sites), SEALED_BYTES, "sealed shares")
        return cls(dict(zip(sites, sealed, strict=True)))


@dataclass(frozen=True)
class MaskedInput:
    """A site's vector under its masks.

    Args:
        vector: uint32 or uint64 [length].
    """

    vector: npt.NDArray[np.unsignedinteger[Any]]

    def body(self) -> Body:
        """Return the plain values."""
        return {"bits": 8 * self.vector.dtype.itemsize}

    def blobs(self) -> Blobs:
        """Return the byte strings, little-endian."""
        return {"vector": self.vector.astype(self.vector.dtype.newbyteorder("<"), copy=False).tobytes()}

    @classmethod
    def from_parts(cls, body: Body, blobs: Blobs) -> Self:
        """Read a message; MessageError if it is malformed."""
        dtype = {32: "<u4", 64: "<u8"}.get(body.get("bits", 0))
        data = _blob(blobs, "vector")
        if dtype is None or len(data) % np.dtype(dtype).itemsize:
            raise MessageError(
                "a masked vector is malformed", remedy="use the same fedprint version everywhere"
            )
        return cls(np.frombuffer(data, dtype=dtype))


@dataclass(frozen=True)
class Survivors:
    """Whose vectors are in the sum, and whose masks must be taken out of it.

    Args:
        alive: Sites whose masked vector arrived, sorted.
        dead: Sites that shared secrets and sent no vector, sorted.
    """

    alive: tuple[str, ...]
    dead: tuple[str, ...]

    def body(self) -> Body:
        """Return the plain values."""
        return {"alive": list(self.alive), "dead": list(self.dead)}

    def blobs(self) -> Blobs:
        """Return no byte strings."""
        return {}

    @classmethod
    def from_parts(cls, body: Body, blobs: Blobs) -> Self:
        """Read a message; MessageError if it is malformed or names a site twice in one list."""
        del blobs
        return cls(_names(body, "alive"), _names(body, "dead"))


@dataclass(frozen=True)
class Confirmation:
    """A site's signature over the terms and the survivors it was told.

    Args:
        signature: Ed25519, 64 bytes.
    """

    signature: bytes

    def body(self) -> Body:
        """Return the plain values."""
        return {}

    def blobs(self) -> Blobs:
        """Return the byte strings."""
        return {"signature": self.signature}

    @classmethod
    def from_parts(cls, body: Body, blobs: Blobs) -> Self:
        """Read a message; MessageError if it is malformed."""
        del body
        return cls(_cut(_blob(blobs, "signature"), 1, SIGNATURE_BYTES, "a confirmation")[0])


@dataclass(frozen=True)
class Confirmations:
    """Everybody's confirmation, which the aggregator passes on.

    Args:
        signatures: Site → 64 bytes.
    """

    signatures: Mapping[str, bytes]

    def body(self) -> Body:
        """Return the plain values."""
        return {"sites": sorted(self.signatures)}

    def blobs(self) -> Blobs:
        """Return the byte strings."""
        return {"signatures": b"".join(self.signatures[site] for site in sorted(self.signatures))}

    @classmethod
    def from_parts(cls, body: Body, blobs: Blobs) -> Self:
        """Read a message; MessageError if it is malformed or names a site twice."""
        sites = _names(body, "sites")
        records = _cut(_blob(blobs, "signatures"), len(sites), SIGNATURE_BYTES, "confirmations")
        return cls(dict(zip(sites, records, strict=True)))


@dataclass(frozen=True)
class Unmasking:
    """The shares that one site holds: of the own mask of those alive, of the mask key of those dead.

    Args:
        shares: Owner of the secret → 33 bytes.
    """

    shares: Mapping[str, bytes] = field(repr=False)

    def body(self) -> Body:
        """Return the plain values."""
        return {"sites": sorted(self.shares)}

    def blobs(self) -> Blobs:
        """Return the byte strings."""
        return {"shares": b"".join(self.shares[site] for site in sorted(self.shares))}

    @classmethod
    def from_parts(cls, body: Body, blobs: Blobs) -> Self:
        """Read a message; MessageError if it is malformed or names a site twice."""
        sites = _names(body, "sites")
        records = _cut(_blob(blobs, "shares"), len(sites), SHARE_BYTES, "an unmasking")
        return cls(dict(zip(sites, records, strict=True)))


def _blob(blobs: Blobs, name: str) -> bytes:
    if set(blobs) != {name}:
        raise MessageError(f"a message of a round carries {sorted(blobs)}, expected {name!r}")
    return blobs[name]


def _names(body: Body, key: str) -> tuple[str, ...]:
    """Return a sorted list of names without repetition."""
    names = body.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MessageError(f"a message of a round names no {key}")
    if names != sorted(set(names)):
        raise MessageError(f"the {key} of a message of a round are not sorted, or one is named twice")
    return tuple(names)


def _cut(data: bytes, n: int, size: int, what: str) -> Sequence[bytes]:
    """Return n records of the same size."""
    if len(data) != n * size:
        raise MessageError(f"{what} is {len(data)} bytes long, expected {n} times {size}")
    return [data[i * size : (i + 1) * size] for i in range(n)]
