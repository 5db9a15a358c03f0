"""Requests and replies under seal, as Flower records."""

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from factories import make_job, make_space
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from federation import sealed_record
from federation.canonical import canonical_json
from federation.envelope import Envelope
from federation.errors import MessageError, SealError, SignatureError
from federation.identity import Identity
from federation.messages import DONE, FingerprintRequest, SiteReply, TaskResult
from federation.sampling import SamplingPlan
from federation.sealed_record import ReplyKey, check_addressed, open_request, seal_reply, seal_request
from federation.sealing import agreement_key, seal


def identity(name):
    return Identity(name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


HUB, ANNA, BERN, CORK = (identity(name) for name in ("hub", "anna", "bern", "cork"))
ROSTER = {site.name: site.public_key for site in (ANNA, BERN, CORK)}
ASKING = ReplyKey()
JOB = make_job(
    aggregator=HUB.public_key, reply_key=ASKING.public, recipients=(ANNA.public_key, BERN.public_key)
)
REQUEST = FingerprintRequest(JOB, make_space(), SamplingPlan(7))


def sealed(request=REQUEST, recipients=None):
    return seal_request(request.to_record(HUB), recipients or request.job.recipients)


@pytest.mark.parametrize("site", [ANNA, BERN])
def test_a_request_is_read_by_everybody_whom_it_is_for(site):
    request = FingerprintRequest.from_record(open_request(sealed(), site))
    assert request == REQUEST
    check_addressed(request.job, site)


def test_a_request_is_read_by_nobody_else():
    with pytest.raises(SealError, match="not sealed for this one"):
        open_request(sealed(), CORK)


def test_a_request_that_a_recipient_seals_for_another_site_is_not_addressed_to_it():
    """Bern can read what the hub signed, and seal it for cork; who it was meant for is signed."""
    handed_on = seal_request(open_request(sealed(), BERN), (CORK.public_key,))
    request = FingerprintRequest.from_record(open_request(handed_on, CORK))
    with pytest.raises(SealError, match=r"signed for 2 keys and not for that of cork"):
        check_addressed(request.job, CORK)


@pytest.mark.parametrize(
    "change", [{"recipients": (CORK.public_key,)}, {"reply_key": ReplyKey().public}], ids=["for", "reply"]
)
def test_neither_recipients_nor_the_key_of_the_reply_can_be_changed_under_the_signature(change):
    """Else who hands a request on could have the reply sealed for themselves."""
    honest = Envelope.from_record(REQUEST.kind, open_request(sealed(), BERN))
    told = {**honest.body["job"], **{name: _plain(value) for name, value in change.items()}}
    forged = replace(honest, body={**honest.body, "job": told}).to_record()
    with pytest.raises(SignatureError):
        FingerprintRequest.from_record(open_request(seal_request(forged, ROSTER.values()), CORK))


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def test_nobody_is_asked_by_a_request_for_nobody():
    request = replace(REQUEST, job=replace(JOB, recipients=()))
    with pytest.raises(SealError, match="sealed for 0 keys"):
        sealed(request)
    with pytest.raises(SealError, match="signed for 0 keys"):
        check_addressed(request.job, ANNA)


def reply_of(site=ANNA, **changes):
    told = {"job_id": JOB.job_id, "nonce": JOB.nonce} | changes
    return SiteReply(site.name, results=(TaskResult("digits", DONE, b"fingerprint"),), **told)


def test_a_reply_is_read_by_who_asked():
    record = ASKING.open(seal_reply(reply_of().to_record(ANNA), JOB))
    assert SiteReply.from_record(record, ROSTER, JOB) == reply_of()


def test_neither_the_hub_of_another_day_nor_a_site_reads_a_reply():
    record = seal_reply(reply_of().to_record(ANNA), JOB)
    with pytest.raises(SealError):
        ReplyKey().open(record)
    for other in (HUB, ANNA, BERN):
        with pytest.raises(SealError):
            open_request(record, other)


def test_a_request_is_no_reply():
    """Were the purpose not part of the seal, one could be sent back as the other."""
    with pytest.raises(SealError):
        ASKING.open(sealed())
    with pytest.raises(SealError):
        open_request(seal_reply(REQUEST.to_record(HUB), JOB), ANNA)


@pytest.mark.parametrize("key", ["", "00" * 32, "zz" * 32])
def test_a_reply_to_a_request_without_a_key_is_not_sealed_for_anybody(key):
    with pytest.raises(SealError, match="nothing can be sealed for the impossible key"):
        seal_reply(reply_of().to_record(ANNA), replace(JOB, reply_key=key))


def test_records_of_every_size_and_order_come_out_as_they_went_in():
    blobs = {"z": b"", "a/b": bytes(range(256)) * 99, "leer zeichen ä": b"x"}
    honest = Envelope.sealed("anything", {"text": "ä"}, blobs, HUB)
    opened = Envelope.from_record(
        "anything", open_request(seal_request(honest.to_record(), [ANNA.public_key]), ANNA)
    )
    assert opened == honest
    assert list(opened.blobs) == list(blobs)


def test_nothing_of_what_is_sealed_is_in_the_record():
    shown = repr(sealed()).encode() + b"".join(a.data for a in sealed()["sealed"].values())
    for word in (b"fingerprint-request", b"job", REQUEST.job.nonce.encode(), ANNA.public_key.encode()):
        assert word not in shown


def _arrays(**parts):
    return RecordDict({"sealed": ArrayRecord(parts)})


def _array(data, stype="fedprint.sealed", dtype="uint8"):
    return Array(dtype, (len(data),), stype, data)


MALFORMED = {
    "empty": RecordDict(),
    "not sealed": REQUEST.to_record(HUB),
    "of another type": RecordDict({"sealed": ConfigRecord({"keys": b"", "content": b""})}),
    "without content": _arrays(keys=_array(bytes(80))),
    "with more": _arrays(keys=_array(bytes(80)), content=_array(bytes(16)), more=_array(b"")),
    "beside another": RecordDict({"sealed": sealed()["sealed"], "blobs": ArrayRecord()}),
    "another serialisation": _arrays(keys=_array(bytes(80), "numpy.ndarray"), content=_array(bytes(16))),
    "other numbers": _arrays(keys=_array(bytes(80)), content=_array(bytes(16), dtype="float32")),
    "cut off": _arrays(keys=_array(bytes(79)), content=_array(bytes(16))),
}


@pytest.mark.parametrize("record", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_sealed_message_is_refused(record):
    with pytest.raises(SealError):
        open_request(record, ANNA)
    with pytest.raises(SealError):
        ASKING.open(record)


def under_seal(content):
    return sealed_record._as_record(seal(content, [agreement_key(ANNA.public_key)], b"request"))


def indexed(index, rest=b"", **changes):
    stated = {"schema": 3, "kind": "k", "header": 0, "blobs": []} | index
    text = canonical_json(stated)
    return len(text).to_bytes(8, "big") + text + rest


FALSE_CONTENT = {
    "nothing": b"",
    "an index longer than all": (2**62).to_bytes(8, "big"),
    "no JSON": (3).to_bytes(8, "big") + b"abc",
    "no table": (2).to_bytes(8, "big") + b"[]",
    "deep": (20_000).to_bytes(8, "big") + b"[" * 20_000,
    "more than it says": indexed({}, b"x"),
    "less than it says": indexed({"header": 5}, b"x"),
    "a negative size": indexed({"header": -1, "blobs": [["a", 2]]}, b"x"),
    "a size that is none": indexed({"header": True}, b"x"),
    "a huge size": indexed({"blobs": [["a", 2**63]]}, b"x"),
    "two blobs of one name": indexed({"blobs": [["a", 1], ["a", 1]]}, b"xy"),
    "a blob without a size": indexed({"blobs": [["a"]]}),
    "a schema that is no number": indexed({"schema": {"a": 1}}),
    "a kind that is nothing": indexed({"kind": None}),
}


@pytest.mark.parametrize("content", FALSE_CONTENT.values(), ids=FALSE_CONTENT)
def test_what_a_liar_seals_is_refused(content):
    with pytest.raises(MessageError):
        open_request(under_seal(content), ANNA)


def test_an_honest_index_is_read():
    """What the cases above change."""
    assert open_request(under_seal(indexed({"blobs": [["a", 1]]}, b"x")), ANNA)["blobs"]["a"].data == b"x"


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_whatever_is_sealed_is_a_message_or_refused(content):
    with pytest.raises(MessageError):
        open_request(under_seal(content), ANNA)


def test_only_signed_messages_are_sealed():
    for record in (
        RecordDict(),
        RecordDict({"fedprint": ConfigRecord({"header": 3}), "blobs": ArrayRecord()}),
    ):
        with pytest.raises(MessageError):
            seal_request(record, [ANNA.public_key])


def test_the_key_of_a_reply_is_not_shown():
    assert ASKING.private_key.private_bytes_raw().hex() not in repr(ASKING)
    assert "private" not in repr(ASKING)
