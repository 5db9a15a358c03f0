"""Vectors modulo 2^32 or 2^64, and the masks that hide them there.

A mask is the keystream of AES-256 in counter mode from a zero block (NIST SP 800-38A, section 6.5), read as
little-endian words. A key makes one mask and no other; whoever derives it binds it to its round and its pair.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from federation.errors import VectorError

MODULI = (32, 64)
"""Bits of a word; sums are modulo 2^bits."""

KEY_BYTES = 32

Vector = npt.NDArray[np.unsignedinteger[Any]]

_WORDS: dict[int, type[np.unsignedinteger[Any]]] = {32: np.uint32, 64: np.uint64}
_SIGNED: dict[int, type[np.signedinteger[Any]]] = {32: np.int32, 64: np.int64}
_BLOCK_BYTES = 16
_CHUNK_BYTES = 2**17  # keystream and vector stay in the nearest caches
_ZEROS = bytes(_CHUNK_BYTES)


def zeros(length: int, bits: int) -> Vector:
    """Return the zero vector.

    Args:
        length: Number of words.
        bits: 32 or 64.

    Raises:
        VectorError: If there is no such modulus.
    """
    return np.zeros(length, dtype=_word(bits))


def encode(values: npt.NDArray[np.int64], bits: int) -> Vector:
    """Return integers modulo 2^bits.

    Args:
        values: int64 [length].
        bits: 32 or 64.

    Raises:
        VectorError: If values are no integers, or one is not within −2^(bits − 1) and 2^(bits − 1) − 1.
    """
    word = _word(bits)
    if values.dtype != np.int64 or values.ndim != 1:
        raise VectorError(f"values are {values.dtype} with {values.ndim} axes, expected int64 with one")
    limits = np.iinfo(_SIGNED[bits])
    if len(values) and not limits.min <= values.min() <= values.max() <= limits.max:
        raise VectorError(
            f"a value does not fit into {bits} bits", remedy="state the bound that the values really have"
        )
    return values.astype(word)


def centred(vector: Vector) -> npt.NDArray[np.int64]:
    """Return the integers of least magnitude that a vector stands for, int64 [length].

    Raises:
        VectorError: If there is no such modulus.
    """
    bits = _bits(vector)
    return vector.astype(_WORDS[bits], copy=False).view(_SIGNED[bits]).astype(np.int64)


def add_mask(vector: Vector, key: bytes, sign: int) -> None:
    """Add the mask of a key to a vector, or take it away, in place.

    Args:
        vector: uint32 or uint64 [length], contiguous.
        key: 32 bytes, used for this mask only.
        sign: +1 or −1.

    Raises:
        VectorError: If vector, key or sign is none of these.
    """
    bits = _bits(vector)
    if len(key) != KEY_BYTES or sign not in (1, -1):
        raise VectorError(f"a mask has a key of {len(key)} bytes and sign {sign}, expected 32 and ±1")
    combine = np.add if sign == 1 else np.subtract
    stream = Cipher(AES256(key), CTR(bytes(_BLOCK_BYTES))).encryptor()
    buffer = np.empty(_CHUNK_BYTES + _BLOCK_BYTES - 1, dtype=np.uint8)  # the room that update_into demands
    words = buffer[:_CHUNK_BYTES].view(np.dtype(_WORDS[bits]).newbyteorder("<"))
    for start in range(0, len(vector), len(words)):
        part = vector[start : start + len(words)]
        _keystream(stream, part.nbytes, buffer)
        combine(part, words[: len(part)], out=part)


def _keystream(stream: CipherContext, n_bytes: int, buffer: npt.NDArray[np.uint8]) -> None:
    """Write the next bytes of a keystream to the start of a buffer."""
    stream.update_into(memoryview(_ZEROS)[:n_bytes], buffer.data)


def _word(bits: int) -> type[np.unsignedinteger[Any]]:
    if bits not in _WORDS:
        raise VectorError(f"vectors have {bits} bits, expected one of {MODULI}")
    return _WORDS[bits]


def _bits(vector: Vector) -> int:
    """Return the modulus of a vector; anything that is not exactly such a vector is refused."""
    bits = 8 * vector.dtype.itemsize
    if vector.dtype.kind != "u" or bits not in MODULI or vector.ndim != 1:
        raise VectorError(f"a vector is {vector.dtype} with {vector.ndim} axes, expected uint32 or uint64")
    return bits
