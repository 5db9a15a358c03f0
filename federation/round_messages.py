"""What aggregator and sites say to each other in a round of secure aggregation, as Flower records.

The first request brings the terms and, where sketches are summed, the space; the later ones name the round by
its id and the digest of its terms. As with every request, the aggregator signs and a nonce that only one node
gets comes back in a reply that the site signs.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Self, TypeAlias

from flwr.app import RecordDict

from federation.envelope import Envelope
from federation.errors import MessageError
from federation.identity import Identity
from federation.messages import DONE, JobHeader, attributed_reply, malformed, signed_request
from federation.reply_words import stated_code
from federation.secagg.messages import (
    Advertisement,
    Confirmation,
    Confirmations,
    Directory,
    MaskedInput,
    Sealed,
    Survivors,
    Unmasking,
)
from federation.secagg.terms import Terms
from federation.space import Space

QUERY_ROUND = "query.round"

ADVERTISE, SHARE, MASK, CONFIRM, UNMASK = STEPS = ("advertise", "share", "mask", "confirm", "unmask")

Question: TypeAlias = Directory | Sealed | Survivors | Confirmations
Answer: TypeAlias = Advertisement | Sealed | MaskedInput | Confirmation | Unmasking
QUESTIONS: Mapping[str, type[Question]] = {
    SHARE: Directory, MASK: Sealed, CONFIRM: Survivors, UNMASK: Confirmations,
}  # fmt: skip
ANSWERS: Mapping[str, type[Answer]] = {
    ADVERTISE: Advertisement, SHARE: Sealed, MASK: MaskedInput, CONFIRM: Confirmation, UNMASK: Unmasking,
}  # fmt: skip
_SPACE = "space"


@dataclass(frozen=True)
class AdvertiseRequest:
    """Ask a site to take part in a round.

    Args:
        job: Job id, nonce, deadline and who asks.
        terms: What the round is about.
        space: The space of the sketches that are summed; None where something else is.
    """

    kind: ClassVar[str] = "round-begin"
    step: ClassVar[str] = ADVERTISE

    job: JobHeader
    terms: Terms
    space: Space | None = None

    def to_record(self, aggregator: Identity) -> RecordDict:
        """Return the request, signed, as a Flower record."""
        body = {"job": asdict(self.job), "terms": self.terms.to_json()}
        blobs = {} if self.space is None else {_SPACE: self.space.to_bytes()}
        return Envelope.sealed(self.kind, body, blobs, aggregator).to_record()

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Read a request and verify that the aggregator it names signed every part of it.

        Raises:
            MessageError: If it is malformed, unsigned, or its terms are impossible.
            SignatureError: If it was altered, or signed by somebody else than it says.
        """
        envelope, job = signed_request(cls.kind, record)
        with malformed("the beginning of a round"):
            terms = Terms.from_json(envelope.body["terms"])
            space = envelope.blobs.get(_SPACE)
            return cls(job, terms, None if space is None else Space.from_bytes(space))


@dataclass(frozen=True)
class StepRequest:
    """Ask a site for its next step in a round.

    Args:
        job: Job id, nonce, deadline and who asks.
        round_id: The round.
        digest: Digest of its terms, 64 hexadecimal digits.
        step: ``"share"``, ``"mask"``, ``"confirm"`` or ``"unmask"``.
        message: What the step needs.
    """

    kind: ClassVar[str] = "round-step"

    job: JobHeader
    round_id: str
    digest: str
    step: str
    message: Question

    def to_record(self, aggregator: Identity) -> RecordDict:
        """Return the request, signed, as a Flower record."""
        body = {
            "job": asdict(self.job),
            "round": self.round_id,
            "digest": self.digest,
            "step": self.step,
            "message": dict(self.message.body()),
        }
        return Envelope.sealed(self.kind, body, self.message.blobs(), aggregator).to_record()

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Read a request and verify it; errors as of ``AdvertiseRequest.from_record``."""
        envelope, job = signed_request(cls.kind, record)
        with malformed("a step of a round"):
            body = envelope.body
            message = QUESTIONS[body["step"]].from_parts(body["message"], envelope.blobs)
            return cls(job, str(body["round"]), str(body["digest"]), body["step"], message)


RoundRequest: TypeAlias = AdvertiseRequest | StepRequest


def read_request(record: RecordDict) -> RoundRequest:
    """Read either kind of request.

    Raises:
        MessageError: If it is malformed or unsigned.
        SignatureError: If it was altered.
    """
    kind = Envelope.kind_of(record)
    return (
        StepRequest.from_record(record) if kind == StepRequest.kind else AdvertiseRequest.from_record(record)
    )


@dataclass(frozen=True)
class StepReply:
    """A site's signed answer in a round.

    Args:
        site: Name of the site.
        job_id: Job id of the request.
        nonce: Nonce of the request.
        round_id: The round.
        step: The step.
        message: The answer; None where there is none.
        code: ``"done"``, ``"withheld"`` from a site that is no member, or the code of an error.
    """

    kind: ClassVar[str] = "round-reply"

    site: str
    job_id: str
    nonce: str
    round_id: str
    step: str
    message: Answer | None = None
    code: str = DONE

    def to_record(self, identity: Identity) -> RecordDict:
        """Return the reply, signed, as a Flower record."""
        body = {
            "site": self.site,
            "job_id": self.job_id,
            "nonce": self.nonce,
            "round": self.round_id,
            "step": self.step,
            "code": self.code,
            "message": None if self.message is None else dict(self.message.body()),
        }
        blobs = {} if self.message is None else self.message.blobs()
        return Envelope.sealed(self.kind, body, blobs, identity).to_record()

    @classmethod
    def from_record(
        cls, record: RecordDict, roster: Mapping[str, str], job: JobHeader, round_id: str, step: str
    ) -> Self:
        """Read a reply to one request, checking signature, nonce, job, round and step.

        Args:
            record: The content of the Flower message.
            roster: Site → public key of every enrolled site.
            job: Header of the request this must answer.
            round_id: The round that was asked about.
            step: The step that was asked for.

        Raises:
            MessageError: If the reply is malformed or answers another request.
            SignatureError: If it was altered, or not signed by the site it names.
        """
        envelope = attributed_reply(cls.kind, record, roster, job)
        with malformed("a reply"):
            body = envelope.body
            same = (str(body["round"]), str(body["step"])) == (round_id, step)
            code = stated_code(body["code"])
            reply = cls(str(body["site"]), job.job_id, job.nonce, round_id, step, code=code)
        if not same:
            raise MessageError(f"the reply of site {reply.site} answers another request")
        with malformed("a reply"):
            message = (
                None if reply.code != DONE else ANSWERS[step].from_parts(body["message"], envelope.blobs)
            )
        return replace(reply, message=message)
