"""Canonical JSON and content hashes: the same value gives the same bytes on every machine."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Return the one JSON encoding of a value: sorted keys, no spaces, UTF-8, no NaN or infinity.

    Args:
        value: Nested dicts (string keys), lists, strings, integers, floats, booleans and None.

    Returns:
        UTF-8 bytes. Floats are written in their shortest form that reads back to the same float.

    Raises:
        ValueError: If a float is NaN or infinite.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
