"""What aggregator and sites say to each other in transfer experiments, as Flower records.

A request names one step and how long the site may work on it now; the reply says how far it is. Asking again
goes on where the site stopped, and a step that is done is answered the same for ever. So progress is visible
epoch by epoch, and whoever dies loses at most what was done since the last reply.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Self

from flwr.app import RecordDict

from federation.canonical import sha256_hex
from federation.envelope import Envelope
from federation.errors import MessageError
from federation.identity import Identity
from federation.messages import DONE, JobHeader, attributed_reply, malformed, signed_request
from federation.reply_words import check_tasks, stated_code, stated_task
from federation.transfer.result import Progress, StepResult
from federation.transfer.step import Step, step_from_json

QUERY_TRANSFER = "query.transfer"
QUERY_ROLL_CALL = "query.roll_call"

RUNNING, WANTS_MODEL = "running", "wants-model"
"""States of a step beside ``done`` and the codes of errors."""

_LONGEST_SLICE_S = 3600.0


@dataclass(frozen=True)
class TransferRequest:
    """Ask a site to work on a step.

    Args:
        job: Job id, nonce, deadline and who asks.
        step: The step.
        slice_s: Seconds after which the site shall reply, at the next end of an epoch.
        model: The model that the step begins at, where the site said that it wants it; else empty.
    """

    kind: ClassVar[str] = "transfer-request"

    job: JobHeader
    step: Step
    slice_s: float = 30.0
    model: bytes = field(default=b"", repr=False)

    def to_record(self, aggregator: Identity) -> RecordDict:
        """Return the request, signed, as a Flower record."""
        body = {"job": asdict(self.job), "step": self.step.to_json(), "slice_s": self.slice_s}
        blobs = {"model": self.model} if self.model else {}
        return Envelope.sealed(self.kind, body, blobs, aggregator).to_record()

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Read a request and verify that the aggregator it names signed every part of it.

        Raises:
            MessageError: If it is malformed or unsigned.
            SignatureError: If it was altered, or signed by somebody else than it says.
        """
        envelope, job = signed_request(cls.kind, record)
        with malformed("a transfer request"):
            slice_s = float(envelope.body["slice_s"])
            if not 0 <= slice_s <= _LONGEST_SLICE_S:
                raise ValueError("slice_s")
            return cls(job, step_from_json(envelope.body["step"]), slice_s, envelope.blobs.get("model", b""))


@dataclass(frozen=True)
class RollCallRequest:
    """Ask who is there, and what its policy lets it take part in."""

    kind: ClassVar[str] = "roll-call"

    job: JobHeader

    def to_record(self, aggregator: Identity) -> RecordDict:
        """Return the request, signed, as a Flower record."""
        return Envelope.sealed(self.kind, {"job": asdict(self.job)}, {}, aggregator).to_record()

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Read a request and verify it; errors as of ``TransferRequest.from_record``."""
        return cls(signed_request(cls.kind, record)[1])


@dataclass(frozen=True)
class Offer:
    """What a site's policy lets one of its tasks take part in.

    Args:
        task: Name of the task.
        measured: Whether figures, rankings and augmentation policies may leave.
        models: ``"exact"``, ``"private"``, or ``""`` where no model may leave.
        models_to: Sites that may get its models; empty: any.
        max_rho: Most ρ that one private model may spend, ``"a/b"``; empty where none may leave.
        networks: Architectures that may be trained there, ``"library:name"``.
    """

    task: str
    measured: bool = False
    models: str = ""
    models_to: tuple[str, ...] = ()
    max_rho: str = ""
    networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class RollCallReply:
    """A site's signed answer to a roll call.

    Args:
        site: Name of the site.
        job_id: Job id of the request.
        nonce: Nonce of the request.
        offers: One per task that may take part in anything.
        code: ``"done"``, or the code of the error that stopped it.
    """

    kind: ClassVar[str] = "roll-call-reply"

    site: str
    job_id: str
    nonce: str
    offers: tuple[Offer, ...] = ()
    code: str = DONE

    def to_record(self, identity: Identity) -> RecordDict:
        """Return the reply, signed, as a Flower record."""
        body = asdict(self) | {"offers": [asdict(offer) for offer in self.offers]}
        return Envelope.sealed(self.kind, body, {}, identity).to_record()

    @classmethod
    def from_record(cls, record: RecordDict, roster: Mapping[str, str], job: JobHeader) -> Self:
        """Read a reply to ``job``.

        Raises:
            MessageError: If the reply is malformed or answers another request.
            SignatureError: If it was altered, or not signed by the site it names.
        """
        envelope = attributed_reply(cls.kind, record, roster, job)
        body = envelope.body
        with malformed("a reply to a roll call"):
            offers = tuple(_offer(offer) for offer in body["offers"])
            check_tasks([offer.task for offer in offers])
            return cls(str(body["site"]), job.job_id, job.nonce, offers, stated_code(body["code"]))


@dataclass(frozen=True)
class TransferReply:
    """A site's signed answer about a step.

    Args:
        site: Name of the site.
        job_id: Job id of the request.
        nonce: Nonce of the request.
        step_id: The step.
        state: ``"done"``, ``"running"``, ``"wants-model"``, or the code of the error that ended it.
        progress: How far it is, where it runs.
        result: What it measured, where it is done.
        model: The model that leaves, where one does; its SHA-256 is ``result.model_id``.
    """

    kind: ClassVar[str] = "transfer-reply"

    site: str
    job_id: str
    nonce: str
    step_id: str
    state: str = DONE
    progress: Progress | None = None
    result: StepResult | None = None
    model: bytes = field(default=b"", repr=False)

    def to_record(self, identity: Identity) -> RecordDict:
        """Return the reply, signed, as a Flower record."""
        body = {
            "site": self.site,
            "job_id": self.job_id,
            "nonce": self.nonce,
            "step_id": self.step_id,
            "state": self.state,
            "progress": None if self.progress is None else self.progress.model_dump(mode="json"),
            "result": None if self.result is None else self.result.model_dump(mode="json"),
        }
        blobs = {"model": self.model} if self.model else {}
        return Envelope.sealed(self.kind, body, blobs, identity).to_record()

    @classmethod
    def from_record(cls, record: RecordDict, roster: Mapping[str, str], job: JobHeader, step: Step) -> Self:
        """Read a reply to one request, checking signature, nonce, job, step, and that the model is its own.

        Raises:
            MessageError: If the reply is malformed, answers another request, or its model is not the one
                that its result names.
            SignatureError: If it was altered, or not signed by the site it names.
        """
        envelope = attributed_reply(cls.kind, record, roster, job)
        body, model = envelope.body, envelope.blobs.get("model", b"")
        with malformed("a transfer reply"):
            progress, result = body["progress"], body["result"]
            reply = cls(
                str(body["site"]),
                job.job_id,
                job.nonce,
                str(body["step_id"]),
                stated_code(body["state"]),
                None if progress is None else Progress.model_validate(progress),
                None if result is None else StepResult.model_validate(result),
                model,
            )
        if reply.step_id != step.step_id or reply.site != step.site:
            raise MessageError(f"the reply of site {reply.site} answers another step")
        if (reply.state == DONE) != (reply.result is not None):
            raise MessageError(f"the reply of site {reply.site} is done without a result, or the reverse")
        named = reply.result.model_id if reply.result else None
        if model and sha256_hex(model) != named:
            raise MessageError(f"the reply of site {reply.site} carries another model than it names")
        return reply


def _offer(table: Mapping[str, object]) -> Offer:
    stated = {name: table[name] for name in Offer.__dataclass_fields__}
    texts = ("task", "models", "max_rho")
    lists = ("models_to", "networks")
    if not all(isinstance(stated[name], str) for name in texts) or not isinstance(stated["measured"], bool):
        raise ValueError("an offer is malformed")
    stated_task(stated["task"])
    words = {name: tuple(str(item) for item in list(stated[name])) for name in lists}  # type: ignore[call-overload]
    return Offer(**(stated | words))  # type: ignore[arg-type]
