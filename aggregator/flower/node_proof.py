"""Whether a request comes from a registered node, told from its headers alone.

Flower asks the same, but only after it has read and parsed the body: anybody on the network could fill the
hub's memory. Here nothing of a body is read until its sender has shown a registered key and signed the time.
"""

import binascii
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY, SIGNATURE, TIMESTAMP = b"flwr-public-key", b"flwr-signature", b"flwr-timestamp"
EARLIEST_S, LATEST_S = -5.0, 305.0
"""Seconds that a time may lie in the future, and in the past."""

_MOST_BYTES = 1024


class NodeProof:
    """Judges the headers of requests.

    Args:
        is_registered: Whether the public key of a node, PEM, may connect.
        clock: Unix time in seconds.
    """

    def __init__(
        self, is_registered: Callable[[bytes], bool], clock: Callable[[], float] = time.time
    ) -> None:
        self._is_registered, self._clock = is_registered, clock

    def __call__(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a request shows a registered key and was signed with it a moment ago.

        Args:
            headers: Name in lower case → value.
        """
        try:
            shown, signature, signed = headers[KEY], headers[SIGNATURE], headers[TIMESTAMP]
            if max(len(shown), len(signature), len(signed)) > _MOST_BYTES:
                return False
            key = b64decode(shown, validate=True)
            if not self._is_recent(signed.decode("ascii")) or not self._is_registered(key):
                return False
            return _has_signed(key, signed, b64decode(signature, validate=True))
        except (KeyError, ValueError, TypeError, binascii.Error, UnsupportedAlgorithm, InvalidSignature):
            return False

    def _is_recent(self, signed: str) -> bool:
        at = datetime.fromisoformat(signed)
        return at.tzinfo is not None and EARLIEST_S < self._clock() - at.timestamp() < LATEST_S


def _has_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    public = serialization.load_pem_public_key(key)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return False
    public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    return True
