"""The round against honest, late, silent and lying sites, over the in-process runtime."""

import queue
import threading
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from factories import make_fingerprint, make_identity, make_space
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from sealed_wire import answering, heard, job_of, opened

from aggregator.rounds.round import FAILED, INVALID_REPLY, NO_REPLY, Asking, ask_everyone
from deploy.inprocess import Node, run_in_process
from federation.identity import Identity
from federation.messages import DONE, QUERY_FINGERPRINT, FingerprintRequest, SiteReply, TaskResult
from federation.sampling import SamplingPlan
from federation.sealed_record import seal_reply, seal_request

SPACE = make_space()


def honest(identity):
    app = ClientApp()

    @app.query("fingerprint")
    def answer(message, _context):
        return answering(message, identity, reply_of(identity, message).to_record(identity))

    return app


def reply_of(identity, message, **changes):
    request = FingerprintRequest.from_record(heard(message, identity))
    fingerprint = make_fingerprint(identity, "t", request.space).to_bytes()
    fields = {"job_id": request.job.job_id, "nonce": request.job.nonce} | changes
    return SiteReply(identity.name, results=(TaskResult("t", DONE, fingerprint),), **fields)


def misbehaving(behaviour):
    app = ClientApp()
    app.query("fingerprint")(lambda message, _context: behaviour(message))
    return app


def ask(apps, roster, timeout_s=20.0):
    found = []
    server = ServerApp()
    hub = Identity("hub", Ed25519PrivateKey.generate())

    @server.main()
    def main(grid, _context):
        def request(job):
            return FingerprintRequest(job, SPACE, SamplingPlan(None))

        found.append(
            ask_everyone(
                grid, hub, QUERY_FINGERPRINT, request, job_id="job-1", timeout_s=timeout_s, roster=roster
            )
        )

    grid = run_in_process(server, [Node(app, {}) for app in apps], {}, parallel=4, record=True)
    return found[0], grid


@pytest.fixture
def identities(tmp_path):
    return {site: make_identity(site, tmp_path) for site in ("anna", "bern", "cork")}


@pytest.fixture
def roster(identities):
    return {site: identity.public_key for site, identity in identities.items()}


def test_every_honest_site_is_heard(identities, roster):
    result, _ = ask([honest(identity) for identity in identities.values()], roster)
    assert set(result.replies) == {"anna", "bern", "cork"}
    assert result.missing == {}


def test_every_node_gets_a_nonce_of_its_own(identities, roster):
    _, grid = ask([honest(identity) for identity in identities.values()], roster)
    down = [sent.message for sent in opened(grid.sent) if sent.direction == "down"]
    nonces = {FingerprintRequest.from_record(message.content).job.nonce for message in down}
    assert len(nonces) == len(down) == 3


def test_every_request_of_a_round_is_signed_by_the_same_aggregator(identities, roster):
    _, grid = ask([honest(identity) for identity in identities.values()], roster)
    down = [sent.message.content for sent in opened(grid.sent) if sent.direction == "down"]
    assert len({FingerprintRequest.from_record(record).job.aggregator for record in down}) == 1


def test_a_silent_site_does_not_stop_the_others_and_is_named(identities, roster):
    hang = threading.Event()

    def answer_late(message):
        hang.wait(30)
        return Message(Error(100, "late"), reply_to=message)

    apps = [honest(identities["anna"]), honest(identities["bern"]), misbehaving(answer_late)]
    started = time.monotonic()
    result, _ = ask(apps, roster, timeout_s=2.0)
    hang.set()
    assert set(result.replies) == {"anna", "bern"}
    assert result.missing == {"cork": NO_REPLY}
    assert time.monotonic() - started < 20


def test_a_site_that_raises_is_missing(identities, roster):
    def fail(_message):
        raise ValueError("patient-0815.png is broken")

    result, _ = ask([honest(identities["anna"]), honest(identities["bern"]), misbehaving(fail)], roster)
    assert set(result.missing) == {"cork"}


def test_an_error_code_is_the_reason_when_only_one_site_is_missing(identities, roster):
    refuse = misbehaving(lambda message: Message(Error(100, "config"), reply_to=message))
    result, _ = ask([honest(identities["anna"]), honest(identities["bern"]), refuse], roster)
    assert result.missing == {"cork": "config"}


def lies(identities):
    cork = identities["cork"]

    def in_anothers_name(message):
        reply = replace(reply_of(cork, message), site="bern")
        return answering(message, cork, reply.to_record(cork))

    def replayed(message):
        reply = reply_of(cork, message, nonce="00" * 16)
        return answering(message, cork, reply.to_record(cork))

    def for_another_job(message):
        reply = reply_of(cork, message, job_id="job-0")
        return answering(message, cork, reply.to_record(cork))

    def echoed(message):
        return Message(message.content, reply_to=message)

    return {f.__name__: f for f in (in_anothers_name, replayed, for_another_job, echoed)}


@pytest.mark.parametrize("lie", ["in_anothers_name", "replayed", "for_another_job", "echoed"])
def test_a_lie_is_refused_and_costs_only_the_liar(identities, roster, lie):
    apps = [honest(identities["anna"]), honest(identities["bern"]), misbehaving(lies(identities)[lie])]
    result, _ = ask(apps, roster)
    assert set(result.replies) == {"anna", "bern"}
    assert result.missing == {"cork": INVALID_REPLY}


def test_two_nodes_with_one_identity_count_once(identities, roster):
    apps = [honest(identities["anna"]), honest(identities["bern"]), honest(identities["bern"])]
    result, _ = ask(apps, roster)
    assert set(result.replies) == {"anna", "bern"}
    assert set(result.missing) == {"cork"}


class Forger:
    """A registered site that answers in another's place: it knows its own request, and no other nonce."""

    def __init__(self, own, forge):
        self.own, self.forge, self.asked = own, forge, queue.SimpleQueue()

    def app(self):
        def answer(message):
            self.asked.put(message)
            return answering(message, self.own, reply_of(self.own, message).to_record(self.own))

        return misbehaving(answer)

    def in_anothers_place(self):
        """The app at the other's node: Flower's transport lets the reply through."""

        def answer(message):
            return Message(self.forge(self.asked.get(timeout=20)), reply_to=message)

        return misbehaving(answer)


def forgeries(identities):
    cork, bern = identities["cork"], identities["bern"]

    def signed_by_itself(own):
        job = job_of(own, cork)
        return seal_reply(reply_of(cork, own).to_record(cork), job)

    def in_the_others_name(own):
        job = job_of(own, cork)
        return seal_reply(replace(reply_of(cork, own), site="bern").to_record(cork), job)

    def with_the_others_true_reply_to_another_nonce(own):
        """As if bern had answered what cork handed on to it."""
        return seal_reply(reply_of(bern, own, nonce="0" * 32).to_record(bern), job_of(own, cork))

    def not_sealed(own):
        return reply_of(cork, own).to_record(cork)

    def sealed_for_the_hubs_signing_key(own):
        return seal_request(reply_of(cork, own).to_record(cork), [job_of(own, cork).aggregator])

    told = (
        signed_by_itself,
        in_the_others_name,
        with_the_others_true_reply_to_another_nonce,
        not_sealed,
        sealed_for_the_hubs_signing_key,
    )
    return {f.__name__: f for f in told}


@pytest.mark.parametrize(
    "forgery",
    [
        "signed_by_itself",
        "in_the_others_name",
        "with_the_others_true_reply_to_another_nonce",
        "not_sealed",
        "sealed_for_the_hubs_signing_key",
    ],
)
def test_a_registered_site_cannot_reply_in_anothers_place(identities, roster, forgery):
    forger = Forger(identities["cork"], forgeries(identities)[forgery])
    result, _ = ask([honest(identities["anna"]), forger.in_anothers_place(), forger.app()], roster)
    assert set(result.replies) == {"anna", "cork"}
    assert result.missing == {"bern": INVALID_REPLY}


def test_a_reply_of_an_earlier_question_is_worth_nothing(identities, roster):
    apps = [honest(identity) for identity in identities.values()]
    _, before = ask(apps, roster)
    (old,) = [
        sent.message.content
        for sent, said in zip(before.sent, opened(before.sent), strict=True)
        if sent.direction == "up" and b'"site":"bern"' in said.blobs[0]
    ]
    replaying = misbehaving(lambda message: Message(old, reply_to=message))
    result, _ = ask([apps[0], replaying, apps[2]], roster)
    assert result.missing == {"bern": INVALID_REPLY}


def test_text_in_place_of_a_code_is_not_kept(identities, roster, caplog):
    telling = misbehaving(lambda message: Message(Error(2, "<patient-0815.png is broken>"), reply_to=message))
    result, _ = ask([honest(identities["anna"]), honest(identities["bern"]), telling], roster)
    assert result.missing == {"cork": FAILED}
    assert "0815" not in caplog.text


def test_requests_to_anonymous_nodes_are_for_the_whole_roster_and_later_ones_for_one_site(identities, roster):
    _, grid = ask([honest(identity) for identity in identities.values()], roster)
    down = [sent.message.content for sent in opened(grid.sent) if sent.direction == "down"]
    assert {FingerprintRequest.from_record(record).job.recipients for record in down} == {
        tuple(roster.values())
    }
    asking = Asking(grid, identities["anna"], "job-1", QUERY_FINGERPRINT, roster)
    assert asking.header(1.0, "bern").recipients == (roster["bern"],)


def test_every_question_has_a_key_of_its_own_for_its_replies(identities, roster):
    keys = []
    for _ in range(2):
        _, grid = ask([honest(identity) for identity in identities.values()], roster)
        down = [sent.message.content for sent in opened(grid.sent) if sent.direction == "down"]
        (key,) = {FingerprintRequest.from_record(record).job.reply_key for record in down}
        keys.append(key)
    assert keys[0] != keys[1]
