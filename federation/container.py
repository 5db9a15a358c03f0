"""Canonical JSON header plus arrays in one safetensors file, with exactly one valid encoding.

Reading encodes again and compares: a change of any byte, even in padding or key order, is noticed.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from federation.canonical import canonical_json
from federation.errors import FingerprintError

MAX_BYTES = 512 * 2**20
_KEY = "fedprint"
_METADATA = "__metadata__"

Arrays = Mapping[str, npt.NDArray[Any]]


def pack(header: Mapping[str, Any], arrays: Arrays) -> bytes:
    """Return header and arrays as one safetensors file.

    Args:
        header: Anything canonical JSON can hold.
        arrays: Name → array; stored little-endian and contiguous.
    """
    # Unlike ascontiguousarray, this leaves a single number a single number.
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return save(plain, {_KEY: canonical_json(dict(header)).decode()})


def unpack(data: bytes, what: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read what ``pack`` wrote.

    Args:
        data: The whole file.
        what: What it should be, for the message of the error.

    Raises:
        FingerprintError: If the bytes are truncated, altered, too large or something else.
    """
    if len(data) > MAX_BYTES:
        raise FingerprintError(f"{what}: {len(data)} bytes are more than the allowed {MAX_BYTES}")
    try:
        arrays = load(data)
        header = json.loads(_metadata(data)[_KEY])
        if pack(header, arrays) != data:
            raise ValueError("another encoding of the same content")
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FingerprintError(
            f"{what}: {len(data)} bytes are not what fedprint wrote ({type(error).__name__})",
            remedy="the file is truncated, damaged or altered: fetch or make it again",
        ) from error
    return header, arrays


def read_head(read: Callable[[int], bytes]) -> bytes:
    """Return the beginning of what ``pack`` wrote, up to where the arrays start.

    Args:
        read: Returns the next so many bytes of the file.
    """
    length = read(8)
    return length + read(min(int.from_bytes(length, "little"), MAX_BYTES))


def unpack_header(head: bytes, what: str) -> dict[str, Any]:
    """Return the header alone, unchecked against the arrays, from the beginning of a file.

    Args:
        head: What ``read_head`` returned.
        what: What it should be, for the message of the error.

    Raises:
        FingerprintError: If that is no such beginning.
    """
    try:
        header: dict[str, Any] = json.loads(_metadata(head)[_KEY])
    except (ValueError, KeyError, TypeError) as error:
        raise FingerprintError(
            f"{what}: its header is not what fedprint wrote ({type(error).__name__})",
            remedy="the file is truncated, damaged or altered: fetch or make it again",
        ) from error
    return header


def unpack_shapes(head: bytes, what: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays by name, from the beginning of a file as ``unpack_header`` takes it.

    Raises:
        FingerprintError: If that is no such beginning.
    """
    try:
        arrays = {name: about for name, about in _preamble(head).items() if name != _METADATA}
        return {name: tuple(map(int, about["shape"])) for name, about in arrays.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise FingerprintError(f"{what}: its arrays are not described ({type(error).__name__})") from error


def _metadata(data: bytes) -> dict[str, str]:
    metadata: dict[str, str] = _preamble(data)[_METADATA]
    return metadata


def _preamble(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    found: dict[str, Any] = json.loads(data[8 : 8 + length])
    return found
