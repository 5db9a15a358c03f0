"""Requests: every part is signed by the aggregator that they name."""

import json
from dataclasses import asdict

import pytest
from factories import make_identity, make_job, make_space
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from federation.canonical import canonical_json
from federation.envelope import SCHEMA, Envelope
from federation.errors import MessageError, SignatureError
from federation.messages import FingerprintRequest, ListenRequest
from federation.sampling import SamplingPlan

CATALOGUE = tuple(bytes([i]) for i in range(12))


@pytest.fixture
def hub(tmp_path):
    return make_identity("hub", tmp_path)


@pytest.fixture
def stranger(tmp_path):
    return make_identity("stranger", tmp_path)


def ask(aggregator, **plan):
    sampling = SamplingPlan(**{"n_images": None} | plan)
    return FingerprintRequest(make_job(aggregator=aggregator.public_key), make_space(), sampling)


def listen(aggregator):
    job = make_job(aggregator=aggregator.public_key)
    return ListenRequest(job, make_space(), SamplingPlan(None), "js", CATALOGUE)


def as_bytes(data):
    return Array("uint8", (len(data),), "fedprint.bytes", data)


def rewritten(record, **changes):
    """A record whose header says something else under the same signature."""
    header = json.loads(record["fedprint"]["header"])
    header["body"] |= changes
    record["fedprint"]["header"] = canonical_json(header)
    return record


@pytest.mark.parametrize("plan", [{"n_images": 500, "seed": 3}, {"n_images": 10_000, "tolerance": 0.015}])
def test_a_fingerprint_request_round_trips(hub, plan):
    request = ask(hub, **plan)
    assert FingerprintRequest.from_record(request.to_record(hub)) == request


def test_a_listen_request_round_trips_with_its_catalogue_in_order(hub):
    request = listen(hub)
    assert ListenRequest.from_record(request.to_record(hub)) == request


def test_a_request_signed_by_another_than_it_names_is_refused(hub, stranger):
    with pytest.raises(SignatureError, match=hub.public_key[:12]):
        FingerprintRequest.from_record(ask(hub).to_record(stranger))


@pytest.mark.parametrize("flipped", [0, 63])
def test_a_forged_signature_is_refused(hub, flipped):
    record = ask(hub).to_record(hub)
    header = json.loads(record["fedprint"]["header"])
    signature = bytearray.fromhex(header["signature"])
    signature[flipped] ^= 1
    record["fedprint"]["header"] = canonical_json(header | {"signature": signature.hex()})
    with pytest.raises(SignatureError):
        FingerprintRequest.from_record(record)


@pytest.mark.parametrize(
    "change", [{"job_id": "job-2"}, {"nonce": "aa" * 16}, {"deadline": 4.1e9}, {"aggregator": "stranger"}]
)
def test_a_changed_job_header_is_refused(hub, stranger, change):
    if "aggregator" in change:
        change = {"aggregator": stranger.public_key}
    job = asdict(ask(hub).job) | change
    with pytest.raises(SignatureError):
        FingerprintRequest.from_record(rewritten(ask(hub).to_record(hub), job=job))


def test_a_changed_sampling_is_refused(hub):
    record = rewritten(ask(hub).to_record(hub), sampling=asdict(SamplingPlan(7)))
    with pytest.raises(SignatureError):
        FingerprintRequest.from_record(record)


def test_a_changed_distance_is_refused(hub):
    with pytest.raises(SignatureError):
        ListenRequest.from_record(rewritten(listen(hub).to_record(hub), distance="emd"))


def test_another_space_under_the_same_signature_is_refused(hub):
    record = ask(hub).to_record(hub)
    record["blobs"]["space"] = as_bytes(make_space(4).to_bytes())
    with pytest.raises(SignatureError):
        FingerprintRequest.from_record(record)


@pytest.mark.parametrize("tamper", ["exchange", "swap", "drop", "add"])
def test_a_changed_catalogue_is_refused(hub, tamper):
    record = listen(hub).to_record(hub)
    blobs = record["blobs"]
    first, second = "fingerprint-000000", "fingerprint-000001"
    match tamper:
        case "exchange":
            blobs[first] = as_bytes(b"other")
        case "swap":
            blobs[first], blobs[second] = blobs[second], blobs[first]
        case "drop":
            del blobs[first]
        case "add":
            blobs["fingerprint-000012"] = as_bytes(b"more")
    with pytest.raises(SignatureError):
        ListenRequest.from_record(record)


def test_one_kind_of_request_cannot_be_presented_as_another(hub):
    record = listen(hub).to_record(hub)
    with pytest.raises(MessageError, match="expected a fingerprint-request"):
        FingerprintRequest.from_record(record)
    record["fedprint"]["kind"] = "fingerprint-request"
    with pytest.raises(SignatureError):
        FingerprintRequest.from_record(record)


def test_an_unsigned_request_is_refused(hub):
    record = ask(hub).to_record(hub)
    body = json.loads(record["fedprint"]["header"])["body"]
    for header in (body, {"body": body}, {"body": body, "signature": ""}, {"body": body, "signature": None}):
        record["fedprint"]["header"] = canonical_json(header)
        with pytest.raises((MessageError, SignatureError)):
            FingerprintRequest.from_record(record)


def test_a_request_of_the_format_before_signatures_is_refused_with_a_remedy(hub):
    record = ask(hub).to_record(hub)
    record["fedprint"]["schema"] = 1
    with pytest.raises(MessageError, match="same fedprint version"):
        FingerprintRequest.from_record(record)


@pytest.mark.parametrize(
    "change",
    [
        {"deadline": None},
        {"deadline": "tomorrow"},
        {"deadline": float("nan")},
        {"deadline": float("inf")},
        {"aggregator": 3},
        {"job_id": ["job-1"]},
        {"nonce": None},
    ],
)
def test_a_job_header_of_wrong_values_is_malformed_before_its_signature_is_looked_at(hub, change):
    record = ask(hub).to_record(hub)
    header = json.loads(record["fedprint"]["header"])
    header["body"]["job"] |= change
    record["fedprint"]["header"] = json.dumps(header).encode()
    with pytest.raises(MessageError, match="fingerprint-request is malformed"):
        FingerprintRequest.from_record(record)


def test_numbers_that_no_signature_covers_are_malformed(hub):
    record = ask(hub).to_record(hub)
    header = json.loads(record["fedprint"]["header"])
    header["body"]["sampling"]["tolerance"] = float("nan")
    record["fedprint"]["header"] = json.dumps(header).encode()
    with pytest.raises(MessageError, match="nobody can sign"):
        FingerprintRequest.from_record(record)


def malformed(**changes):
    config = {"schema": SCHEMA, "kind": "fingerprint-request", "header": b"{}"} | changes
    return RecordDict({"fedprint": ConfigRecord(config), "blobs": ArrayRecord()})


@pytest.mark.parametrize(
    "record",
    [
        RecordDict(),
        malformed(),
        malformed(schema=3),
        malformed(kind="reply"),
        malformed(header=b"\xff"),
        malformed(header=b"[]"),
        malformed(header="text"),
        malformed(header=b'{"body":[],"signature":""}'),
        malformed(header=b'{"body":{},"signature":"zz"}'),
        malformed(header=b'{"body":{},"signature":""}'),
        malformed(header=b'{"body":{"job":3},"signature":""}'),
        RecordDict({"fedprint": ArrayRecord(), "blobs": ArrayRecord()}),
    ],
)
def test_malformed_requests_are_refused(record):
    with pytest.raises(MessageError):
        FingerprintRequest.from_record(record)


def test_arrays_that_are_no_plain_bytes_are_refused(hub):
    record = ask(hub).to_record(hub)
    data = record["blobs"]["space"].data
    for array in (
        Array("uint8", (len(data) + 1,), "fedprint.bytes", data),
        Array("float64", (len(data),), "fedprint.bytes", data),
        Array("uint8", (len(data),), "numpy.ndarray", data),
    ):
        record["blobs"]["space"] = array
        with pytest.raises(MessageError, match="plain byte string"):
            FingerprintRequest.from_record(record)


@pytest.mark.parametrize(
    ("sampling", "space"),
    [
        ({"n_images": 0}, make_space().to_bytes()),
        ({"n_images": None, "images": 3}, make_space().to_bytes()),
        ({"n_images": None}, make_space().to_bytes()[:-1]),
        ({"n_images": None}, None),
    ],
)
def test_a_well_signed_request_for_the_impossible_is_malformed(hub, sampling, space):
    body = {"job": asdict(ask(hub).job), "sampling": sampling}
    blobs = {} if space is None else {"space": space}
    record = Envelope.sealed("fingerprint-request", body, blobs, hub).to_record()
    with pytest.raises(MessageError, match="fingerprint-request is malformed"):
        FingerprintRequest.from_record(record)
