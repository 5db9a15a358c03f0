"""Flower records under seal: what crosses Flower, and stays in its database, nobody else can read.

A request is sealed for the sites that it is signed for, a reply for a key that the asking process has made
for its questions and keeps in memory alone. The signed envelope is inside.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from federation.canonical import canonical_json
from federation.envelope import BLOBS, MAX_HEADER_BYTES, RECORD, STYPE, parts_of
from federation.errors import SealError
from federation.identity import Identity
from federation.messages import JobHeader, malformed
from federation.sealing import (
    Sealed,
    agreement_key,
    agreement_private_key,
    require_agreement_key,
    seal,
    unseal,
)

_SEALED, _KEYS, _CONTENT, _STYPE = "sealed", "keys", "content", "fedprint.sealed"
_REQUEST, _REPLY = b"request", b"reply"
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class ReplyKey:
    """The key for which sites seal their replies; it dies with the process that asks.

    Args:
        private_key: Never stored anywhere.
    """

    private_key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate, repr=False)

    @property
    def public(self) -> str:
        """The public key as 64 hexadecimal digits, as requests name it."""
        return self.private_key.public_key().public_bytes_raw().hex()

    def open(self, record: RecordDict) -> RecordDict:
        """Return the record that a site sealed.

        Raises:
            SealError: If it is malformed, altered, or sealed for another key.
        """
        return _unpacked(unseal(_sealed_in(record), self.private_key, _REPLY))


def seal_request(record: RecordDict, recipients: Sequence[str]) -> RecordDict:
    """Return a signed request under seal.

    Args:
        record: The request.
        recipients: Ed25519 public keys of who may read it, 64 hexadecimal digits each.

    Raises:
        SealError: If there are none, one of them is impossible, or the request is too large.
    """
    return _as_record(seal(_packed(record), [agreement_key(key) for key in recipients], _REQUEST))


def open_request(record: RecordDict, identity: Identity) -> RecordDict:
    """Return the request that was sealed for a site, among others.

    Raises:
        SealError: If it is malformed, altered, or sealed for others.
    """
    return _unpacked(unseal(_sealed_in(record), agreement_private_key(identity), _REQUEST))


def check_addressed(job: JobHeader, identity: Identity) -> None:
    """Raise unless a request was signed for a site: who can open one can seal it again for somebody else.

    Raises:
        SealError: If it was signed for others.
    """
    if identity.public_key not in job.recipients:
        raise SealError(
            f"a request of job {job.job_id[:80]!r} was signed for {len(job.recipients)} keys and not for "
            f"that of {identity.name}: one of the others has sealed it for this site",
            remedy="tell the aggregator's operator",
        )


def seal_reply(record: RecordDict, job: JobHeader) -> RecordDict:
    """Return a signed reply under seal, for who asked.

    Args:
        record: The reply.
        job: Header of the verified request that it answers.

    Raises:
        SealError: If the request names no key, or the reply is too large.
    """
    return _as_record(seal(_packed(record), [require_agreement_key(job.reply_key)], _REPLY))


def _as_record(sealed: Sealed) -> RecordDict:
    parts = {_KEYS: sealed.keys, _CONTENT: sealed.content}
    arrays = {name: Array("uint8", (len(part),), _STYPE, part) for name, part in parts.items()}
    return RecordDict({_SEALED: ArrayRecord(arrays)})


def _sealed_in(record: RecordDict) -> Sealed:
    arrays = record.get(_SEALED)
    if set(record) != {_SEALED} or not isinstance(arrays, ArrayRecord) or set(arrays) != {_KEYS, _CONTENT}:
        raise SealError("a message is not sealed", remedy="use the same fedprint version at all sites")
    if any(array.stype != _STYPE or array.dtype != "uint8" for array in arrays.values()):
        raise SealError("a sealed message holds arrays that are no plain byte strings")
    return Sealed(arrays[_KEYS].data, arrays[_CONTENT].data)


def _packed(record: RecordDict) -> bytes:
    """Return the record of an envelope as one byte string: an index, its header, its blobs."""
    config, arrays = parts_of("message", record)
    header = config["header"]
    if not isinstance(header, bytes):
        raise SealError("only signed messages can be sealed")
    sizes = [[name, len(array.data)] for name, array in arrays.items()]
    index = canonical_json(
        {"schema": config["schema"], "kind": config["kind"], "header": len(header), "blobs": sizes}
    )
    blobs = (array.data for array in arrays.values())
    return b"".join((len(index).to_bytes(_LENGTH_BYTES, "big"), index, header, *blobs))


def _unpacked(content: bytes) -> RecordDict:
    with malformed("a sealed message"):
        at = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
        if at > MAX_HEADER_BYTES:
            raise ValueError("the index is too large")
        index: dict[str, Any] = json.loads(content[_LENGTH_BYTES:at])
        names = [str(name) for name, _ in index["blobs"]]
        header, *blobs = _cut(content, at, [index["header"], *(size for _, size in index["blobs"])])
        if len(set(names)) != len(names):
            raise ValueError("two blobs of one name")
        config = ConfigRecord({"schema": index["schema"], "kind": index["kind"], "header": header})
        arrays = {
            name: Array("uint8", (len(blob),), STYPE, blob) for name, blob in zip(names, blobs, strict=True)
        }
        return RecordDict({RECORD: config, BLOBS: ArrayRecord(arrays)})


def _cut(content: bytes, start: int, sizes: Sequence[int]) -> list[bytes]:
    """Return what follows ``start`` in parts of the stated sizes, which must be all of it."""
    if any(type(size) is not int or size < 0 for size in sizes) or start + sum(sizes) != len(content):
        raise ValueError("the sizes are wrong")
    parts = []
    for size in sizes:
        parts.append(content[start : start + size])
        start += size
    return parts
