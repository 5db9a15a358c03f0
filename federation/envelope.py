"""Signed envelopes: a canonical header, named blobs and one signature over both, as Flower records."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from federation.canonical import canonical_json, sha256_hex
from federation.errors import MessageError
from federation.identity import Identity, verify

SCHEMA = 3

MAX_HEADER_BYTES = 4 * 2**20
MAX_BLOB_BYTES = 512 * 2**20
RECORD, BLOBS, STYPE = "fedprint", "blobs", "fedprint.bytes"


@dataclass(frozen=True)
class Envelope:
    """What is said, and the signature over its kind, its body and the digest of every blob.

    Reading one does not verify it: the key may be known only from its body.

    Args:
        kind: What the message is, such as ``"reply"``; no signature serves two kinds.
        body: Whatever canonical JSON can hold.
        blobs: Name → bytes.
        signature: 64 bytes, Ed25519.
    """

    kind: str
    body: Mapping[str, Any]
    blobs: Mapping[str, bytes]
    signature: bytes

    @classmethod
    def sealed(
        cls, kind: str, body: Mapping[str, Any], blobs: Mapping[str, bytes], signer: Identity
    ) -> "Envelope":
        """Return the envelope signed by ``signer``."""
        return cls(kind, body, blobs, signer.sign(_signed_bytes(kind, body, blobs)))

    def verify(self, public_key: str, what: str) -> None:
        """Raise unless all of it was signed under ``public_key``.

        Args:
            public_key: 64 hexadecimal digits.
            what: What the envelope is, for the message of the error.

        Raises:
            MessageError: If the body has no canonical form.
            SignatureError: If the signature or the key is wrong.
        """
        try:
            message = _signed_bytes(self.kind, self.body, self.blobs)
        except ValueError as error:
            raise MessageError(f"the header of {what} holds what nobody can sign") from error
        verify(public_key, self.signature, message, what)

    def to_record(self) -> RecordDict:
        """Return the envelope as a Flower record."""
        arrays = {name: Array("uint8", (len(blob),), STYPE, blob) for name, blob in self.blobs.items()}
        header = canonical_json({"body": self.body, "signature": self.signature.hex()})
        config = ConfigRecord({"schema": SCHEMA, "kind": self.kind, "header": header})
        return RecordDict({RECORD: config, BLOBS: ArrayRecord(arrays)})

    @staticmethod
    def kind_of(record: RecordDict) -> str:
        """Return what a record says it is, unverified; empty where it says nothing."""
        config = record.get(RECORD)
        return str(config.get("kind", "")) if isinstance(config, ConfigRecord) else ""

    @classmethod
    def from_record(cls, kind: str, record: RecordDict) -> "Envelope":
        """Read an envelope without verifying it.

        Raises:
            MessageError: If it is malformed, unsigned or of another kind.
        """
        config, arrays = parts_of(kind, record)
        if config.get("schema") != SCHEMA:
            raise MessageError(
                f"message format {config.get('schema')!r} is not the format {SCHEMA} of this version",
                remedy="use the same fedprint version at all sites",
            )
        if config.get("kind") != kind:
            raise MessageError(f"expected a {kind}, got {config.get('kind')!r}")
        body, signature = _header(kind, config.get("header"))
        return cls(kind, body, {name: _blob(kind, array) for name, array in arrays.items()}, signature)


def _signed_bytes(kind: str, body: Mapping[str, Any], blobs: Mapping[str, bytes]) -> bytes:
    digests = {name: sha256_hex(blob) for name, blob in blobs.items()}
    return f"fedprint {kind} {SCHEMA}\n".encode() + canonical_json({"body": body, "blobs": digests})


def parts_of(kind: str, record: RecordDict) -> tuple[ConfigRecord, ArrayRecord]:
    """Return header and blobs of the record of an envelope.

    Args:
        kind: What it should be, for the message of the error.
        record: The record.

    Raises:
        MessageError: If it is none.
    """
    if set(record) != {RECORD, BLOBS}:
        raise MessageError(f"a {kind} needs the records {RECORD!r} and {BLOBS!r}, found {sorted(record)}")
    config, arrays = record[RECORD], record[BLOBS]
    if not isinstance(config, ConfigRecord) or not isinstance(arrays, ArrayRecord):
        raise MessageError(f"a {kind} holds records of the wrong type")
    return config, arrays


def _header(kind: str, raw: object) -> tuple[dict[str, Any], bytes]:
    if not isinstance(raw, bytes) or len(raw) > MAX_HEADER_BYTES:
        raise MessageError(f"the header of a {kind} is missing or too large")
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"the header of a {kind} is not JSON") from error
    if not isinstance(header, dict) or set(header) != {"body", "signature"}:
        raise MessageError(f"a {kind} is not signed")
    try:
        signature = bytes.fromhex(header["signature"])
    except (TypeError, ValueError) as error:
        raise MessageError(f"the signature of a {kind} is not hexadecimal") from error
    if not isinstance(header["body"], dict):
        raise MessageError(f"the header of a {kind} is not a table")
    return header["body"], signature


def _blob(kind: str, array: Array) -> bytes:
    sound = array.stype == STYPE and array.dtype == "uint8" and array.shape == (len(array.data),)
    if not sound or len(array.data) > MAX_BLOB_BYTES:
        raise MessageError(f"a {kind} carries an array that is no plain byte string")
    return array.data
