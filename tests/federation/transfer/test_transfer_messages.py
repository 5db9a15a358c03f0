"""Requests and replies of transfer experiments: signed, bound to their question, strict."""

import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.canonical import sha256_hex
from federation.envelope import Envelope
from federation.errors import MessageError, SignatureError
from federation.identity import Identity
from federation.messages import JobHeader
from federation.transfer.messages import (
    RUNNING,
    Offer,
    RollCallReply,
    RollCallRequest,
    TransferReply,
    TransferRequest,
)
from federation.transfer.result import Progress, Score, StepResult, relative_gain
from federation.transfer.step import TrainStep

HUB, ANNA, BERN = (Identity(name, Ed25519PrivateKey.generate()) for name in ("hub", "anna", "bern"))
ROSTER = {"anna": ANNA.public_key, "bern": BERN.public_key}
STEP = TrainStep(site="anna", task="digits")
JOB = JobHeader("job-1", "0f" * 16, time.time() + 100, HUB.public_key)
MODEL = b"weights"
RESULT = StepResult(
    scores={"auroc": Score(value=0.75, low=0.5, high=1.0)},
    n_train=50,
    n_classes=2,
    model_id=sha256_hex(MODEL),
)
REPLY = TransferReply("anna", JOB.job_id, JOB.nonce, STEP.step_id, result=RESULT, model=MODEL)


def read(reply, identity=ANNA, job=JOB, step=STEP):
    return TransferReply.from_record(reply.to_record(identity), ROSTER, job, step)


def test_a_request_reads_back_with_its_model():
    request = TransferRequest(JOB, STEP, 12.5, MODEL)
    assert TransferRequest.from_record(request.to_record(HUB)) == request


def test_a_request_of_somebody_else_is_refused():
    with pytest.raises(SignatureError):
        TransferRequest.from_record(TransferRequest(JOB, STEP).to_record(ANNA))


@pytest.mark.parametrize("slice_s", [-1.0, float("nan"), 1e9])
def test_a_slice_without_an_end_is_refused(slice_s):
    body = {"job": JOB.__dict__, "step": STEP.to_json(), "slice_s": str(slice_s)}
    with pytest.raises(MessageError):
        TransferRequest.from_record(Envelope.sealed("transfer-request", body, {}, HUB).to_record())


def test_a_roll_call_tells_what_a_site_offers():
    assert RollCallRequest.from_record(RollCallRequest(JOB).to_record(HUB)).job == JOB
    reply = RollCallReply(
        "anna", JOB.job_id, JOB.nonce, (Offer("digits", True, "private", ("bern",), "1/8", ("timm:x",)),)
    )
    assert RollCallReply.from_record(reply.to_record(ANNA), ROSTER, JOB) == reply


def test_a_reply_reads_back():
    assert read(REPLY) == REPLY
    running = replace(REPLY, state=RUNNING, result=None, model=b"", progress=Progress(epoch=1, epochs=4))
    assert read(running) == running
    assert running.progress.share == 0.25


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "00" * 16},
        {"job_id": "job-2"},
        {"step_id": "ab" * 32},
        {"state": RUNNING},
        {"result": None},
        {"model": b"other weights"},
        {"site": "cork"},
    ],
)
def test_a_reply_to_something_else_or_with_another_model_is_refused(change):
    with pytest.raises(MessageError):
        read(replace(REPLY, **change))


def test_a_site_cannot_answer_for_another_one():
    with pytest.raises(SignatureError):
        read(REPLY, BERN)
    with pytest.raises(MessageError, match="another step"):
        read(replace(REPLY, site="bern"), BERN)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_are_finite_numbers(value):
    with pytest.raises(ValueError, match="finite"):
        Score(value=value, low=0.0, high=1.0)
    with pytest.raises(ValueError, match="empty"):
        Score(value=0.5, low=1.0, high=0.0)


def test_the_gain_is_relative_to_the_baseline():
    assert relative_gain(0.9, 0.8) == pytest.approx(0.125)
