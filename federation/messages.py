"""What aggregator and sites say to each other, as Flower records.

Every message is one header (canonical JSON) plus named blobs. A reply carries the nonce of its request, the
digests of its blobs and the site's signature over all of it: Flower's own transport does not bind a reply
to the site that sent it.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from federation.canonical import canonical_json, sha256_hex
from federation.errors import FedprintError, MessageError
from federation.identity import Identity, verify
from federation.sampling import SamplingPlan
from federation.space import Space

SCHEMA = 1
QUERY_FINGERPRINT = "query.fingerprint"
QUERY_LISTEN = "query.listen"

DONE = "done"
WITHHELD = "withheld"

MAX_HEADER_BYTES = 4 * 2**20
MAX_BLOB_BYTES = 512 * 2**20
_RECORD, _BLOBS, _STYPE = "fedprint", "blobs", "fedprint.bytes"
_REPLY_DOMAIN = b"fedprint reply 1\n"


@dataclass(frozen=True)
class JobHeader:
    """What every request says about itself.

    Args:
        job_id: Names the job; asking again under the same id gets the stored answer.
        nonce: 32 hexadecimal digits that only the addressed site sees.
        deadline: Unix time in seconds after which nobody waits for the reply.
    """

    job_id: str
    nonce: str
    deadline: float


@dataclass(frozen=True)
class FingerprintRequest:
    """Ask a site for fingerprints of its tasks.

    Args:
        job: Job id, nonce and deadline.
        space: The space to work in.
        sampling: The budget of images per task.
    """

    job: JobHeader
    space: Space
    sampling: SamplingPlan

    def to_record(self) -> RecordDict:
        """Return the request as a Flower record."""
        header = {"job": asdict(self.job), "sampling": asdict(self.sampling)}
        return _encode("fingerprint-request", header, {"space": self.space.to_bytes()})

    @classmethod
    def from_record(cls, record: RecordDict) -> "FingerprintRequest":
        """Read a request.

        Raises:
            MessageError: If it is malformed.
        """
        header, blobs = _decode("fingerprint-request", record)
        try:
            return cls(
                JobHeader(**header["job"]),
                Space.from_bytes(blobs["space"]),
                SamplingPlan(**header["sampling"]),
            )
        except (KeyError, TypeError, ValueError, FedprintError) as error:
            raise MessageError(f"malformed fingerprint request: {error}") from error


@dataclass(frozen=True)
class ListenRequest:
    """Bring the public catalogue to a site, which ranks it locally and releases nothing.

    Args:
        job: Job id, nonce and deadline.
        space: The space of the catalogue.
        sampling: The budget of images per task.
        distance: Name of the distance to rank by.
        catalogue: Encoded fingerprints of the possible sources.
    """

    job: JobHeader
    space: Space
    sampling: SamplingPlan
    distance: str
    catalogue: tuple[bytes, ...]

    def to_record(self) -> RecordDict:
        """Return the request as a Flower record."""
        header = {
            "job": asdict(self.job),
            "sampling": asdict(self.sampling),
            "distance": self.distance,
        }
        blobs = {f"fingerprint-{i:06d}": blob for i, blob in enumerate(self.catalogue)}
        return _encode("listen-request", header, {"space": self.space.to_bytes(), **blobs})

    @classmethod
    def from_record(cls, record: RecordDict) -> "ListenRequest":
        """Read a request.

        Raises:
            MessageError: If it is malformed.
        """
        header, blobs = _decode("listen-request", record)
        try:
            return cls(
                JobHeader(**header["job"]),
                Space.from_bytes(blobs.pop("space")),
                SamplingPlan(**header["sampling"]),
                str(header["distance"]),
                tuple(blobs[name] for name in sorted(blobs)),
            )
        except (KeyError, TypeError, ValueError, FedprintError) as error:
            raise MessageError(f"malformed listen request: {error}") from error


@dataclass(frozen=True)
class TaskResult:
    """What became of one task of a site.

    Args:
        task: Name of the task.
        code: ``"done"``, ``"withheld"`` or the code of an error; never its text.
        fingerprint: The encoded fingerprint, where one was released.
    """

    task: str
    code: str
    fingerprint: bytes = b""


@dataclass(frozen=True)
class SiteReply:
    """A site's signed answer: one result per task.

    Args:
        site: Name of the site.
        job_id: Job id of the request.
        nonce: Nonce of the request.
        results: One entry per task.
        code: ``"done"``, or the code of the error that stopped the whole job.
    """

    site: str
    job_id: str
    nonce: str
    results: tuple[TaskResult, ...] = ()
    code: str = DONE

    def to_record(self, identity: Identity) -> RecordDict:
        """Return the reply, signed, as a Flower record."""
        blobs = {r.task: r.fingerprint for r in self.results if r.fingerprint}
        header = {
            "site": self.site,
            "job_id": self.job_id,
            "nonce": self.nonce,
            "code": self.code,
            "results": [{"task": r.task, "code": r.code} for r in self.results],
            "blobs": {name: sha256_hex(blob) for name, blob in blobs.items()},
        }
        signature = identity.sign(_REPLY_DOMAIN + canonical_json(header))
        return _encode("reply", {"body": header, "signature": signature.hex()}, blobs)

    @classmethod
    def from_record(cls, record: RecordDict, roster: Mapping[str, str], job: JobHeader) -> "SiteReply":
        """Read a reply to ``job``, checking nonce, job, signature and digests.

        Args:
            record: The content of the Flower message.
            roster: Site name → public key of every enrolled site.
            job: Header of the request this must answer.

        Raises:
            MessageError: If the reply is malformed or answers another request.
            SignatureError: If it was not signed by the site it names.
        """
        header, blobs = _decode("reply", record)
        try:
            body, signature = header["body"], bytes.fromhex(header["signature"])
            site, results, digests = str(body["site"]), body["results"], body["blobs"]
            reply = cls(
                site, str(body["job_id"]), str(body["nonce"]),
                tuple(TaskResult(str(r["task"]), str(r["code"]), blobs.get(r["task"], b"")) for r in results),
                str(body["code"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MessageError(f"malformed reply ({type(error).__name__})") from error
        if site not in roster:
            raise MessageError(f"a reply names the unknown site {site!r}", remedy="enrol the site first")
        verify(roster[site], signature, _REPLY_DOMAIN + canonical_json(body), f"the reply of site {site}")
        if reply.job_id != job.job_id or not hmac.compare_digest(reply.nonce, job.nonce):
            raise MessageError(f"the reply of site {site} answers another request (wrong job or nonce)")
        if digests != {name: sha256_hex(blob) for name, blob in blobs.items()}:
            raise MessageError(f"the reply of site {site} carries other content than it signed")
        return reply


def _encode(kind: str, header: dict[str, Any], blobs: Mapping[str, bytes]) -> RecordDict:
    arrays = ArrayRecord({name: Array("uint8", (len(blob),), _STYPE, blob) for name, blob in blobs.items()})
    config = ConfigRecord({"schema": SCHEMA, "kind": kind, "header": canonical_json(header)})
    return RecordDict({_RECORD: config, _BLOBS: arrays})


def _decode(kind: str, record: RecordDict) -> tuple[dict[str, Any], dict[str, bytes]]:
    if set(record) != {_RECORD, _BLOBS}:
        raise MessageError(f"a {kind} needs the records {_RECORD!r} and {_BLOBS!r}, found {sorted(record)}")
    config, arrays = record[_RECORD], record[_BLOBS]
    if not isinstance(config, ConfigRecord) or not isinstance(arrays, ArrayRecord):
        raise MessageError(f"a {kind} holds records of the wrong type")
    if config.get("schema") != SCHEMA:
        raise MessageError(
            f"message format {config.get('schema')!r} is not the format {SCHEMA} of this version",
            remedy="use the same fedprint version at all sites",
        )
    if config.get("kind") != kind:
        raise MessageError(f"expected a {kind}, got {config.get('kind')!r}")
    return _decode_header(kind, config.get("header")), {n: _blob(kind, a) for n, a in arrays.items()}


def _decode_header(kind: str, raw: object) -> dict[str, Any]:
    if not isinstance(raw, bytes) or len(raw) > MAX_HEADER_BYTES:
        raise MessageError(f"the header of a {kind} is missing or too large")
    try:
        header = json.loads(raw)
    except ValueError as error:
        raise MessageError(f"the header of a {kind} is not JSON") from error
    if not isinstance(header, dict):
        raise MessageError(f"the header of a {kind} is not a table")
    return header


def _blob(kind: str, array: Array) -> bytes:
    sound = array.stype == _STYPE and array.dtype == "uint8" and array.shape == (len(array.data),)
    if not sound or len(array.data) > MAX_BLOB_BYTES:
        raise MessageError(f"a {kind} carries an array that is no plain byte string")
    return array.data
