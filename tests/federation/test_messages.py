from dataclasses import replace

import pytest
from factories import make_fingerprint, make_identity, make_job, make_space
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from federation.errors import MessageError, SignatureError
from federation.messages import DONE, FingerprintRequest, ListenRequest, SiteReply, TaskResult
from federation.sampling import SamplingPlan


@pytest.fixture
def identity(tmp_path):
    return make_identity("st-anna", tmp_path)


def reply(identity, job, **changes):
    fingerprint = make_fingerprint(identity, "t", make_space()).to_bytes()
    results = (TaskResult("t", DONE, fingerprint), TaskResult("u", "data"))
    return replace(SiteReply(identity.name, job.job_id, job.nonce, results), **changes)


@pytest.mark.parametrize("plan", [SamplingPlan(500, seed=3), SamplingPlan(10_000, tolerance=0.015)])
def test_a_fingerprint_request_round_trips(plan):
    request = FingerprintRequest(make_job(), make_space(), plan)
    assert FingerprintRequest.from_record(request.to_record()) == request


def test_a_listen_request_round_trips_with_its_catalogue_in_order():
    catalogue = tuple(bytes([i]) for i in range(12))
    request = ListenRequest(make_job(), make_space(), SamplingPlan(None), "js", catalogue)
    assert ListenRequest.from_record(request.to_record()) == request


def test_a_reply_round_trips(identity):
    job = make_job()
    sent = reply(identity, job)
    assert SiteReply.from_record(sent.to_record(identity), {"st-anna": identity.public_key}, job) == sent


def test_a_reply_with_another_nonce_is_refused(identity):
    sent = reply(identity, make_job(nonce="aa" * 16)).to_record(identity)
    with pytest.raises(MessageError, match="another request"):
        SiteReply.from_record(sent, {"st-anna": identity.public_key}, make_job())


def test_a_reply_to_another_job_is_refused(identity):
    sent = reply(identity, make_job("old")).to_record(identity)
    with pytest.raises(MessageError, match="another request"):
        SiteReply.from_record(sent, {"st-anna": identity.public_key}, make_job("new"))


def test_a_reply_in_another_sites_name_is_refused(identity, tmp_path):
    job, liar = make_job(), make_identity("liar", tmp_path)
    forged = reply(identity, job).to_record(liar)
    with pytest.raises(SignatureError, match="st-anna"):
        SiteReply.from_record(forged, {"st-anna": identity.public_key, "liar": liar.public_key}, job)


def test_a_reply_of_an_unknown_site_is_refused(identity):
    with pytest.raises(MessageError, match="unknown site 'st-anna'"):
        SiteReply.from_record(reply(identity, make_job()).to_record(identity), {}, make_job())


def test_exchanged_content_is_noticed(identity):
    job = make_job()
    record = reply(identity, job).to_record(identity)
    record["blobs"]["t"] = Array("uint8", (3,), "fedprint.bytes", b"abc")
    with pytest.raises(MessageError, match="other content"):
        SiteReply.from_record(record, {"st-anna": identity.public_key}, job)


def malformed(**changes):
    config = {"schema": 1, "kind": "fingerprint-request", "header": b"{}"} | changes
    return RecordDict({"fedprint": ConfigRecord(config), "blobs": ArrayRecord()})


@pytest.mark.parametrize(
    "record",
    [
        RecordDict(),
        malformed(),
        malformed(schema=2),
        malformed(kind="reply"),
        malformed(header=b"\xff"),
        malformed(header=b"[]"),
        malformed(header="text"),
        RecordDict({"fedprint": ArrayRecord(), "blobs": ArrayRecord()}),
    ],
)
def test_malformed_requests_are_refused(record):
    with pytest.raises(MessageError):
        FingerprintRequest.from_record(record)


def test_arrays_that_are_no_plain_bytes_are_refused():
    record = FingerprintRequest(make_job(), make_space(), SamplingPlan(None)).to_record()
    data = record["blobs"]["space"].data
    for array in (
        Array("uint8", (len(data) + 1,), "fedprint.bytes", data),
        Array("float64", (len(data),), "fedprint.bytes", data),
        Array("uint8", (len(data),), "numpy.ndarray", data),
    ):
        record["blobs"]["space"] = array
        with pytest.raises(MessageError, match="plain byte string"):
            FingerprintRequest.from_record(record)


def test_a_damaged_space_is_refused():
    record = FingerprintRequest(make_job(), make_space(), SamplingPlan(None)).to_record()
    data = bytearray(record["blobs"]["space"].data)
    data[-1] ^= 1
    record["blobs"]["space"] = Array("uint8", (len(data),), "fedprint.bytes", bytes(data))
    with pytest.raises(MessageError, match="malformed"):
        FingerprintRequest.from_record(record)
