"""Requests and replies of a round over Flower: signed, bound to one node, one job, one round and one step."""

from dataclasses import replace

import pytest
from cohorts import identity, small_cohort

from federation.errors import MessageError, SignatureError
from federation.messages import JobHeader
from federation.round_messages import (
    ANSWERS,
    STEPS,
    AdvertiseRequest,
    StepReply,
    StepRequest,
    read_request,
)

HUB = identity("hub")
JOB = JobHeader("job-1", "0" * 32, 1e9, HUB.public_key)
SITE = "site-0000"


@pytest.fixture(scope="module")
def cohort():
    cohort = small_cohort(4)
    cohort.unmask()
    return cohort


def _questions(cohort):
    servers = cohort.servers
    return {
        "share": servers["share"].directory,
        "mask": servers["mask"].delivery(SITE),
        "confirm": servers["confirm"].survivors,
        "unmask": servers["unmask"].confirmations,
    }


def test_the_first_request_brings_the_terms(cohort):
    request = AdvertiseRequest(JOB, cohort.terms)
    assert read_request(request.to_record(HUB)) == request


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_step_reads_back(cohort, step):
    request = StepRequest(
        JOB, cohort.terms.round_id, cohort.terms.digest.hex(), step, _questions(cohort)[step]
    )
    assert read_request(request.to_record(HUB)) == request


def test_a_request_of_another_signer_is_refused(cohort):
    with pytest.raises(SignatureError):
        read_request(AdvertiseRequest(JOB, cohort.terms).to_record(identity("somebody")))


def test_impossible_terms_are_refused_when_read(cohort):
    weak = replace(cohort.terms, threshold=1)
    with pytest.raises(MessageError, match="threshold"):
        read_request(AdvertiseRequest(JOB, weak).to_record(HUB))


@pytest.mark.parametrize("step", STEPS)
def test_a_reply_reads_back(cohort, step):
    answer = cohort.answers[step][SITE]
    reply = StepReply(SITE, JOB.job_id, JOB.nonce, cohort.terms.round_id, step, answer)
    record = reply.to_record(identity(SITE))
    again = StepReply.from_record(record, cohort.terms.members, JOB, cohort.terms.round_id, step)
    assert again.message is not None
    assert again.message.blobs() == answer.blobs()
    assert set(ANSWERS) == set(STEPS)


@pytest.mark.parametrize(
    "changed", [{"nonce": "1" * 32}, {"job_id": "job-2"}, {"round_id": "1" * 32}, {"step": "mask"}]
)
def test_a_reply_to_another_request_is_refused(cohort, changed):
    reply = StepReply(SITE, JOB.job_id, JOB.nonce, cohort.terms.round_id, "share", code="policy")
    record = replace(reply, **changed).to_record(identity(SITE))
    with pytest.raises(MessageError, match="another request"):
        StepReply.from_record(record, cohort.terms.members, JOB, cohort.terms.round_id, "share")


def test_a_reply_in_another_sites_name_is_refused(cohort):
    reply = StepReply(SITE, JOB.job_id, JOB.nonce, cohort.terms.round_id, "share", code="policy")
    with pytest.raises(SignatureError):
        StepReply.from_record(
            reply.to_record(identity("site-0001")), cohort.terms.members, JOB, cohort.terms.round_id, "share"
        )


def test_done_without_an_answer_is_refused(cohort):
    reply = StepReply(SITE, JOB.job_id, JOB.nonce, cohort.terms.round_id, "share")
    with pytest.raises(MessageError, match="malformed"):
        StepReply.from_record(
            reply.to_record(identity(SITE)), cohort.terms.members, JOB, cohort.terms.round_id, "share"
        )
