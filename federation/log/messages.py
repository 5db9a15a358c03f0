"""How a site is asked to witness the log, as Flower records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Self

from flwr.app import RecordDict

from federation.envelope import Envelope
from federation.identity import Identity
from federation.log.update import LogUpdate
from federation.messages import DONE, JobHeader, attributed_reply, malformed, signed_request
from federation.reply_words import stated_code

QUERY_WITNESS = "query.witness"

BEHIND = "log-behind"
"""Code of a site that keeps a head of another size than the update begins at; the reply tells which."""
OMISSION = "log-omission"
"""Code of a site that misses an entry about what it released in the job."""

_MOST_ENTRIES = 2**53
_UPDATE, _MEMBERSHIP = "update", "membership"


@dataclass(frozen=True)
class WitnessRequest:
    """Ask a site to verify and co-sign the log after a job.

    Args:
        job: Job id, nonce, deadline and who asks.
        update: What the site is told of the log, encoded.
        membership: The site's membership as it is now; empty where there is none.
    """

    kind: ClassVar[str] = "witness-request"

    job: JobHeader
    update: bytes = field(repr=False)
    membership: bytes = field(default=b"", repr=False)

    def to_record(self, aggregator: Identity) -> RecordDict:
        """Return the request, signed, as a Flower record."""
        blobs = {_UPDATE: self.update}
        if self.membership:
            blobs[_MEMBERSHIP] = self.membership
        return Envelope.sealed(self.kind, {"job": asdict(self.job)}, blobs, aggregator).to_record()

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Read a request and verify that the aggregator it names signed every part of it.

        Raises:
            MessageError: If it is malformed or unsigned.
            SignatureError: If it was altered, or signed by somebody else than it says.
        """
        envelope, job = signed_request(cls.kind, record)
        with malformed(f"a {cls.kind}"):
            LogUpdate.from_bytes(envelope.blobs[_UPDATE])
            return cls(job, envelope.blobs[_UPDATE], envelope.blobs.get(_MEMBERSHIP, b""))


@dataclass(frozen=True)
class WitnessReply:
    """A site's signed answer.

    Args:
        site: Name of the site.
        job_id: Job id of the request.
        nonce: Nonce of the request.
        code: ``"done"``, ``"log-behind"``, ``"log-omission"``, ``"log-contradiction"`` or another error's.
        size: Size of the last head that the site keeps, once it has answered.
        signature: The site's signature over the head, 64 bytes; empty unless it is done.
    """

    kind: ClassVar[str] = "witness-reply"

    site: str
    job_id: str
    nonce: str
    code: str = DONE
    size: int = 0
    signature: bytes = b""

    def to_record(self, identity: Identity) -> RecordDict:
        """Return the reply, signed, as a Flower record."""
        body = asdict(self) | {"signature": self.signature.hex()}
        return Envelope.sealed(self.kind, body, {}, identity).to_record()

    @classmethod
    def from_record(cls, record: RecordDict, roster: Mapping[str, str], job: JobHeader) -> Self:
        """Read a reply to ``job``.

        Raises:
            MessageError: If the reply is malformed or answers another request.
            SignatureError: If it was altered, or not signed by the site it names.
        """
        body = attributed_reply(cls.kind, record, roster, job).body
        with malformed("a witness's reply"):
            size, signature = body["size"], bytes.fromhex(body["signature"])
            if not isinstance(size, int) or not 0 <= size < _MOST_ENTRIES:
                raise ValueError("the size of a log is none")
            return cls(str(body["site"]), job.job_id, job.nonce, stated_code(body["code"]), size, signature)
