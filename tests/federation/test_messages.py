from dataclasses import replace

import pytest
from factories import make_fingerprint, make_identity, make_job, make_space
from flwr.app import Array

from federation.errors import MessageError, SignatureError
from federation.messages import DONE, FingerprintRequest, SiteReply, TaskResult
from federation.sampling import SamplingPlan


@pytest.fixture
def identity(tmp_path):
    return make_identity("st-anna", tmp_path)


def reply(identity, job, **changes):
    fingerprint = make_fingerprint(identity, "t", make_space()).to_bytes()
    results = (TaskResult("t", DONE, fingerprint), TaskResult("u", "data"))
    return replace(SiteReply(identity.name, job.job_id, job.nonce, results), **changes)


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


@pytest.mark.parametrize(
    "results",
    [
        (TaskResult("t", "\x1b[2J no code"),),
        (TaskResult("../t", DONE),),
        (TaskResult("t", DONE), TaskResult("t", DONE)),
        tuple(TaskResult(f"t{k}", DONE) for k in range(2000)),
    ],
)
def test_a_reply_with_texts_or_without_end_is_refused(identity, results):
    """What a site says is logged for good and shown on the operator's terminal."""
    job = make_job()
    sent = SiteReply(identity.name, job.job_id, job.nonce, results).to_record(identity)
    with pytest.raises(MessageError, match="malformed"):
        SiteReply.from_record(sent, {"st-anna": identity.public_key}, job)


def test_a_reply_of_an_unknown_site_is_refused(identity):
    with pytest.raises(MessageError, match="unknown site 'st-anna'"):
        SiteReply.from_record(reply(identity, make_job()).to_record(identity), {}, make_job())


def test_exchanged_content_is_noticed(identity):
    job = make_job()
    record = reply(identity, job).to_record(identity)
    record["blobs"]["t"] = Array("uint8", (3,), "fedprint.bytes", b"abc")
    with pytest.raises(SignatureError, match="st-anna"):
        SiteReply.from_record(record, {"st-anna": identity.public_key}, job)


def test_a_request_that_comes_back_is_no_reply(identity):
    job = make_job(aggregator=identity.public_key)
    request = FingerprintRequest(job, make_space(), SamplingPlan(None)).to_record(identity)
    with pytest.raises(MessageError, match="expected a reply"):
        SiteReply.from_record(request, {"st-anna": identity.public_key}, job)


@pytest.mark.parametrize("text", ["/data/patient-0815.png is broken", "", "DONE", "a" * 41])
def test_text_in_place_of_a_code_is_refused(identity, text):
    job = make_job()
    for told in (
        replace(reply(identity, job), code=text),
        replace(reply(identity, job), results=(TaskResult("t", text),)),
    ):
        with pytest.raises(MessageError, match="malformed"):
            SiteReply.from_record(told.to_record(identity), {"st-anna": identity.public_key}, job)
