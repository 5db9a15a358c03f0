"""What a site answers, and what it keeps to itself."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from factories import FAR_FUTURE, make_identity, make_job
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp
from sealed_wire import REPLY_KEY
from small_federation import write_small_federation

from aggregator.config import HubConfig
from deploy.federation_file import FederationConfig
from deploy.inprocess import Node, run_in_process
from deploy.simulation import prepare
from federation.envelope import Envelope
from federation.errors import SealError, SpaceMismatchError
from federation.files import read_file
from federation.fingerprint import Fingerprint
from federation.identity import Identity
from federation.messages import (
    DONE,
    QUERY_FINGERPRINT,
    WITHHELD,
    FingerprintRequest,
    ListenRequest,
    SiteReply,
)
from federation.sampling import SamplingPlan
from federation.sealed_record import ReplyKey, seal_request
from federation.space import Space
from site_agent import jobs
from site_agent.client_app import REFUSED
from site_agent.client_app import app as client_app
from site_agent.events import SENT
from site_agent.jobs import Site, fingerprint_tasks
from site_agent.local_ranking import rank_locally


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(FederationConfig.read(write_small_federation(tmp_path_factory.mktemp("jobs"))))


@pytest.fixture(scope="module")
def space(prepared):
    return Space.from_bytes(read_file(prepared.catalogue.parent / "space.safetensors", "space"))


@pytest.fixture
def anna(prepared):
    return Site.open(prepared.site_files[0])


@pytest.fixture(scope="module")
def hub(prepared):
    return Identity.load_or_create("Small", HubConfig.read(prepared.hub_file).key)


@pytest.fixture
def stranger(tmp_path):
    return make_identity("stranger", tmp_path)


@pytest.fixture
def asked(hub, space, anna):
    """Build a request of the hub."""

    def build(job_id="job-1", deadline=FAR_FUTURE, *, aggregator=hub, space=space):
        job = make_job(
            job_id,
            deadline=deadline,
            aggregator=aggregator.public_key,
            reply_key=REPLY_KEY.public,
            recipients=(anna.identity.public_key,),
        )
        return FingerprintRequest(job, space, SamplingPlan(None))

    return build


def test_an_open_task_is_answered_with_a_signed_fingerprint(anna, asked):
    (result,) = fingerprint_tasks(anna, asked()).results
    fingerprint = Fingerprint.from_bytes(result.fingerprint)
    fingerprint.verify(anna.identity.public_key)
    assert (result.code, fingerprint.key, fingerprint.histogram.n) == (DONE, "anna/digits", 60)


def test_asking_again_under_the_same_job_gives_the_stored_bytes(anna, asked, monkeypatch):
    first = fingerprint_tasks(anna, asked("job-2")).results
    monkeypatch.setattr(jobs, "sketch_once", lambda *_: pytest.fail("sketched again"))
    assert fingerprint_tasks(anna, asked("job-2")).results == first


def test_a_release_is_stored_and_logged_before_it_is_sent(anna, asked):
    (result,) = fingerprint_tasks(anna, asked("job-3")).results
    assert anna.state.release("job-3", "digits") == result.fingerprint
    (event,) = [e for e in anna.state.events() if e.get("job") == "job-3"]
    assert event["event"] == "released"
    assert event["mode"] == "open"


def test_a_listening_task_withholds_and_touches_no_image(prepared, asked, monkeypatch):
    monkeypatch.setattr(jobs, "sketch_once", lambda *_: pytest.fail("sketched"))
    cork = Site.open(prepared.site_files[2])
    (result,) = fingerprint_tasks(cork, asked()).results
    assert (result.code, result.fingerprint) == (WITHHELD, b"")


def test_a_passed_deadline_is_a_code(anna, asked):
    (result,) = fingerprint_tasks(anna, asked("job-4", deadline=1.0)).results
    assert (result.code, result.fingerprint) == ("deadline", b"")


def test_a_space_of_other_weights_is_refused_and_the_log_says_how_they_differ(anna, asked, space):
    other = replace(space, extractor=replace(space.extractor, weights_sha256="cd" * 32))
    (result,) = fingerprint_tasks(anna, asked("job-5", space=other)).results
    assert result.code == SpaceMismatchError.code
    (event,) = [e for e in anna.state.events() if e.get("job") == "job-5"]
    assert "weights_sha256" in event["text"]


def test_the_text_of_an_error_stays_at_the_site(anna, asked, monkeypatch):
    def fail(*_):
        raise RuntimeError("patient-0815 is unreadable")

    monkeypatch.setattr(jobs, "sketch_once", fail)
    reply = fingerprint_tasks(anna, asked("job-6"))
    assert [r.code for r in reply.results] == ["internal"]
    assert b"0815" not in reply.to_record(anna.identity)["fedprint"]["header"]
    assert "0815" in anna.state.log_path.read_text()


def sealed(request, signer):
    """A request as it crosses Flower."""
    return seal_request(request.to_record(signer), request.job.recipients)


def answer(record, config):
    """What a site's ClientApp with this node configuration sends back."""
    replies, server = [], ServerApp()

    @server.main()
    def main(grid, _context):
        (node_id,) = grid.get_node_ids()
        pending = list(grid.push_messages([Message(record, node_id, QUERY_FINGERPRINT)]))
        while not replies:
            replies.extend(grid.pull_messages(pending))

    run_in_process(server, [Node(client_app, config)], {})
    return replies[0]


@pytest.mark.parametrize("config", [{}, {"site-config": 3}, {"site-config": "/nowhere/site.toml"}])
def test_a_misconfigured_supernode_answers_with_a_code_only(asked, hub, config):
    reply = answer(sealed(asked(), hub), config)
    assert (reply.error.code, reply.error.reason) == (REFUSED, "config")


def test_an_aggregator_that_the_site_does_not_list_gets_one_code_and_no_work_is_done(
    prepared, anna, asked, stranger, monkeypatch
):
    monkeypatch.setattr(jobs, "sketch_once", lambda *_: pytest.fail("sketched"))
    request = asked("job-7", aggregator=stranger)
    message = answer(sealed(request, stranger), {"site-config": str(prepared.site_files[0])})
    reply = SiteReply.from_record(
        REPLY_KEY.open(message.content), {"anna": anna.identity.public_key}, request.job
    )
    assert (reply.code, reply.results) == ("policy", ())
    event, sent = [e for e in anna.state.events() if e.get("job") == "job-7"]
    assert (event["event"], event["code"]) == ("refused", "policy")
    assert sent["event"] == SENT
    assert stranger.public_key in event["text"]


def test_an_unlisted_aggregator_cannot_have_a_stored_answer_either(anna, asked, stranger):
    fingerprint_tasks(anna, asked("job-8"))
    reply = fingerprint_tasks(anna, asked("job-8", aggregator=stranger))
    assert (reply.code, reply.results) == ("policy", ())


def test_a_listening_site_does_not_rank_for_an_unlisted_aggregator(prepared, space, stranger):
    cork = Site.open(prepared.site_files[2])
    job = make_job("job-9", aggregator=stranger.public_key)
    reply = rank_locally(cork, ListenRequest(job, space, SamplingPlan(None), "js", (b"no fingerprint",)))
    assert (reply.code, reply.results) == ("policy", ())


def test_a_site_without_a_policy_answers_nobody(anna, asked, tmp_path):
    lawless = replace(anna, config=anna.config.model_copy(update={"policy": tmp_path / "policy.toml"}))
    reply = fingerprint_tasks(lawless, asked("job-10"))
    assert (reply.code, reply.results) == ("policy", ())


def test_a_request_signed_by_another_than_it_says_is_answered_with_a_code_only(prepared, asked, stranger):
    reply = answer(sealed(asked(), stranger), {"site-config": str(prepared.site_files[0])})
    assert (reply.error.code, reply.error.reason) == (REFUSED, "signature")


def test_a_passed_deadline_is_noticed_before_a_catalogue_is_read(prepared, space, hub):
    cork = Site.open(prepared.site_files[2])
    job = make_job("job-11", deadline=1.0, aggregator=hub.public_key)
    reply = rank_locally(cork, ListenRequest(job, space, SamplingPlan(None), "js", (b"no fingerprint",)))
    assert [result.code for result in reply.results] == ["deadline"]


def test_a_malformed_request_is_answered_with_a_code_only(prepared, anna, hub):
    malformed = seal_request(
        Envelope.sealed(FingerprintRequest.kind, {}, {}, hub).to_record(), (anna.identity.public_key,)
    )
    reply = answer(malformed, {"site-config": str(prepared.site_files[0])})
    assert (reply.error.code, reply.error.reason) == (REFUSED, "message")


def test_a_request_that_is_not_sealed_is_answered_with_a_code_only(prepared, asked, hub):
    for record in (RecordDict(), asked().to_record(hub)):
        reply = answer(record, {"site-config": str(prepared.site_files[0])})
        assert (reply.error.code, reply.error.reason) == (REFUSED, "seal")


def test_a_request_that_is_sealed_for_other_sites_gets_one_code_and_no_work_is_done(
    prepared, asked, hub, monkeypatch
):
    sketched = []
    monkeypatch.setattr(jobs, "sketch_once", lambda *told: sketched.append(told))
    others = tuple(Identity(name, Ed25519PrivateKey.generate()).public_key for name in ("dora", "emil"))
    reply = answer(seal_request(asked().to_record(hub), others), {"site-config": str(prepared.site_files[0])})
    assert sketched == []
    assert reply.has_error()
    assert (reply.error.code, reply.error.reason) == (REFUSED, "seal")


def test_a_request_that_another_site_sealed_again_is_refused(prepared, asked, hub, monkeypatch):
    """Anna may read what she is asked, and cannot have bern answer it."""
    sketched = []
    monkeypatch.setattr(jobs, "sketch_once", lambda *told: sketched.append(told))
    bern = Site.open(prepared.site_files[1])
    handed_on = seal_request(asked().to_record(hub), (bern.identity.public_key,))
    reply = answer(handed_on, {"site-config": str(prepared.site_files[1])})
    assert sketched == []
    assert reply.has_error()
    assert (reply.error.code, reply.error.reason) == (REFUSED, "seal")
    answer(sealed(asked("job-13"), hub), {"site-config": str(prepared.site_files[0])})
    assert len(sketched) == 1  # who is addressed works


def test_a_request_that_names_no_key_for_the_reply_gets_none(prepared, asked, hub):
    request = asked("job-12")
    for key in ("", "00" * 32, "no key"):
        nameless = replace(request, job=replace(request.job, reply_key=key))
        reply = answer(sealed(nameless, hub), {"site-config": str(prepared.site_files[0])})
        assert (reply.error.code, reply.error.reason) == (REFUSED, "seal")


def test_only_who_asked_can_open_the_reply(prepared, asked, hub):
    message = answer(sealed(asked(), hub), {"site-config": str(prepared.site_files[0])})
    with pytest.raises(SealError):
        ReplyKey().open(message.content)
    assert "anna" in str(REPLY_KEY.open(message.content))


def test_jobs_are_named_by_requests_but_never_escape_the_state_folder(anna, asked):
    (result,) = fingerprint_tasks(anna, asked("../../escape")).results
    assert result.code == "config"
    assert not (anna.state.folder.parent / "escape").exists()
