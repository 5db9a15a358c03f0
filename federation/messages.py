"""What aggregator and sites say to each other, as Flower records.

Every message is a signed envelope. A request is signed by the aggregator, so that a site knows who asks.
Nodes are anonymous until they reply, so a request names not the site but everybody who may read it; it
carries a nonce that no other node gets. The reply is signed by the site and repeats the nonce: Flower's own
transport does not bind a reply to the site that sent it.
"""

import hmac
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from flwr.app import RecordDict

from federation.envelope import Envelope
from federation.errors import FedprintError, MessageError
from federation.identity import Identity
from federation.reply_words import check_tasks, stated_code, stated_task
from federation.sampling import SamplingPlan
from federation.space import Space

QUERY_FINGERPRINT = "query.fingerprint"
QUERY_LISTEN = "query.listen"

DONE = "done"
WITHHELD = "withheld"

_SPACE, _REPLY = "space", "reply"


@dataclass(frozen=True)
class JobHeader:
    """What every request says about itself.

    Args:
        job_id: Names the job; asking again under the same id gets the stored answer.
        nonce: 32 hexadecimal digits that only the addressed site sees.
        deadline: Unix time in seconds after which nobody waits for the reply.
        aggregator: Public key of who asks, 64 hexadecimal digits; in a request that was read, its signature
            is that of this key.
        reply_key: X25519 public key for which the reply is sealed, 64 hexadecimal digits. It is signed with
            the rest, so that nobody who hands a request on can have the reply sealed for themselves.
        recipients: Public keys of the sites that it is sealed for, 64 hexadecimal digits each. They are
            signed, so that no recipient can seal the request again for a site that it was not meant for.
    """

    job_id: str
    nonce: str
    deadline: float
    aggregator: str
    reply_key: str = ""
    recipients: tuple[str, ...] = ()

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Read a header.

        Raises:
            ValueError: If a value is missing, of the wrong type, or the deadline is no point in time.
        """
        words = [table[name] for name in ("job_id", "nonce", "aggregator", "reply_key")]
        deadline, recipients = table["deadline"], table["recipients"]
        if not isinstance(recipients, list):
            raise ValueError("the recipients are no list")
        words.extend(recipients)
        if not all(isinstance(word, str) for word in words) or not isinstance(deadline, int | float):
            raise ValueError("the job header holds a value of the wrong type")
        if not math.isfinite(deadline):
            raise ValueError("the deadline is no point in time")
        return cls(words[0], words[1], float(deadline), words[2], words[3], tuple(recipients))


@dataclass(frozen=True)
class Request:
    """What every request asks for.

    Args:
        job: Job id, nonce, deadline and who asks.
        space: The space to work in.
        sampling: The budget of images per task.
    """

    kind: ClassVar[str]

    job: JobHeader
    space: Space
    sampling: SamplingPlan

    def to_record(self, aggregator: Identity) -> RecordDict:
        """Return the request, signed, as a Flower record."""
        return Envelope.sealed(self.kind, self._body(), self._blobs(), aggregator).to_record()

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Read a request and verify that the aggregator it names signed every part of it.

        Raises:
            MessageError: If it is malformed or unsigned.
            SignatureError: If it was altered, or signed by somebody else than it says.
        """
        envelope, job = signed_request(cls.kind, record)
        with malformed(f"a {cls.kind}"):
            return cls._from_envelope(job, envelope)

    def _body(self) -> dict[str, Any]:
        return {"job": asdict(self.job), "sampling": asdict(self.sampling)}

    def _blobs(self) -> dict[str, bytes]:
        return {_SPACE: self.space.to_bytes()}

    @classmethod
    def _from_envelope(cls, job: JobHeader, envelope: Envelope) -> Self:
        return cls(job, *_space_and_sampling(envelope))


@dataclass(frozen=True)
class FingerprintRequest(Request):
    """Ask a site for fingerprints of its tasks."""

    kind = "fingerprint-request"


@dataclass(frozen=True)
class ListenRequest(Request):
    """Bring the public catalogue to a site, which ranks it locally and releases nothing.

    Args:
        distance: Name of the distance to rank by.
        catalogue: Encoded fingerprints of the possible sources.
    """

    kind = "listen-request"

    distance: str
    catalogue: tuple[bytes, ...]

    def _body(self) -> dict[str, Any]:
        return super()._body() | {"distance": self.distance}

    def _blobs(self) -> dict[str, bytes]:
        return super()._blobs() | {f"fingerprint-{i:06d}": blob for i, blob in enumerate(self.catalogue)}

    @classmethod
    def _from_envelope(cls, job: JobHeader, envelope: Envelope) -> Self:
        catalogue = tuple(blob for name, blob in sorted(envelope.blobs.items()) if name != _SPACE)
        return cls(job, *_space_and_sampling(envelope), str(envelope.body["distance"]), catalogue)


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
        body = {
            "site": self.site,
            "job_id": self.job_id,
            "nonce": self.nonce,
            "code": self.code,
            "results": [{"task": r.task, "code": r.code} for r in self.results],
        }
        blobs = {r.task: r.fingerprint for r in self.results if r.fingerprint}
        return Envelope.sealed(_REPLY, body, blobs, identity).to_record()

    @classmethod
    def from_record(cls, record: RecordDict, roster: Mapping[str, str], job: JobHeader) -> "SiteReply":
        """Read a reply to ``job``, checking signature, nonce and job.

        Args:
            record: The content of the Flower message.
            roster: Site name → public key of every enrolled site.
            job: Header of the request this must answer.

        Raises:
            MessageError: If the reply is malformed or answers another request.
            SignatureError: If it was altered, or not signed by the site it names.
        """
        envelope = attributed_reply(_REPLY, record, roster, job)
        with malformed("a reply"):
            return cls._unverified(envelope)

    @classmethod
    def _unverified(cls, envelope: Envelope) -> "SiteReply":
        body, blobs = envelope.body, envelope.blobs
        results = tuple(
            TaskResult(stated_task(r["task"]), stated_code(r["code"]), blobs.get(r["task"], b""))
            for r in body["results"]
        )
        check_tasks([result.task for result in results])
        code = stated_code(body["code"])
        return cls(str(body["site"]), str(body["job_id"]), str(body["nonce"]), results, code)


def _space_and_sampling(envelope: Envelope) -> tuple[Space, SamplingPlan]:
    return Space.from_bytes(envelope.blobs[_SPACE]), SamplingPlan(**envelope.body["sampling"])


def signed_request(kind: str, record: RecordDict) -> tuple[Envelope, JobHeader]:
    """Return a request once the aggregator that it names is known to have signed every part of it.

    Args:
        kind: What it should be.
        record: The content of the Flower message.

    Raises:
        MessageError: If it is malformed or unsigned.
        SignatureError: If it was altered, or signed by somebody else than it says.
    """
    envelope = Envelope.from_record(kind, record)
    with malformed(f"a {kind}"):
        job = JobHeader.from_table(envelope.body["job"])
    envelope.verify(job.aggregator, f"a {kind}")
    return envelope, job


def attributed_reply(kind: str, record: RecordDict, roster: Mapping[str, str], job: JobHeader) -> Envelope:
    """Return a reply to ``job`` once the site that it names is known to have signed it.

    Args:
        kind: What it should be.
        record: The content of the Flower message.
        roster: Site name → public key of every enrolled site.
        job: Header of the request this must answer.

    Raises:
        MessageError: If the reply is malformed or answers another request.
        SignatureError: If it was altered, or not signed by the site it names.
    """
    envelope = Envelope.from_record(kind, record)
    with malformed("a reply"):
        site, job_id, nonce = (str(envelope.body[key]) for key in ("site", "job_id", "nonce"))
    if site not in roster:
        raise MessageError(f"a reply names the unknown site {site!r}", remedy="enrol the site first")
    envelope.verify(roster[site], f"the reply of site {site}")
    if job_id != job.job_id or not hmac.compare_digest(nonce.encode(), job.nonce.encode()):
        raise MessageError(f"the reply of site {site} answers another request (wrong job or nonce)")
    return envelope


@contextmanager
def malformed(what: str) -> Iterator[None]:
    """Turn whatever a message of the wrong shape raises into one error.

    Args:
        what: What the message is.

    Raises:
        MessageError: Instead of whatever was raised within.
    """
    try:
        yield
    except FedprintError as error:
        raise MessageError(f"{what} is malformed: {error.problem}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MessageError(f"{what} is malformed ({type(error).__name__})") from error
