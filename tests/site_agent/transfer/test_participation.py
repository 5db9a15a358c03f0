"""What a site answers about steps: slice by slice, the same for ever, and nothing that it should not say."""

import pytest
from factories import make_identity, make_job
from flwr.app import Message
from flwr.serverapp import ServerApp
from sealed_wire import REPLY_KEY
from transfer_site import EXACT, FILE, PATIENT, CountingWork, bytes_of, train, write_transfer_site

from deploy.inprocess import Node, run_in_process
from federation.errors import DataError, MemoryShortError, StoreError, TrainingError
from federation.sealed_record import seal_request
from federation.transfer.messages import (
    QUERY_ROLL_CALL,
    QUERY_TRANSFER,
    RollCallReply,
    RollCallRequest,
    TransferReply,
    TransferRequest,
)
from federation.transfer.model import TravellingModel
from federation.transfer.recipe import Recipe
from federation.transfer.step import SearchStep
from site_agent.client_app import app as client_app
from site_agent.transfer.participation import WORK, answer_step
from site_agent.transfer.step_files import SiteSteps


def test_a_step_is_worked_on_slice_by_slice(anna):
    replies = anna.finish(train(recipe=Recipe(epochs=3)))
    assert [reply.state for reply in replies] == ["running", "running", "done"]
    assert [reply.progress.epoch for reply in replies[:2]] == [1, 2]
    assert replies[-1].result.scores["auroc"].value == 0.75


def test_a_step_that_is_done_is_answered_the_same_for_ever(anna, monkeypatch):
    step = train(travels_to=("bern",))
    done = anna.finish(step)[-1]
    monkeypatch.setitem(WORK, "train", lambda _: pytest.fail("worked again"))
    assert anna.ask(step) == done
    assert anna.ask(step, nonce="1e" * 16).result == done.result
    assert anna.ask(step, nonce="1e" * 16).model == done.model


def test_a_replayed_request_gets_the_same_bytes(anna):
    step = train(travels_to=("bern",))
    anna.finish(step)
    job = make_job("job-1", aggregator=anna.hub.public_key)
    replies = [answer_step(anna.site, TransferRequest(job, step)) for _ in range(2)]
    first, second = (bytes_of(reply.to_record(anna.site.identity)) for reply in replies)
    assert first == second


def test_a_model_leaves_signed_named_by_its_hash_and_logged(anna):
    step = train(travels_to=("bern",))
    done = anna.finish(step)[-1]
    model = TravellingModel.from_bytes(done.model, done.result.model_id)
    assert (model.public_key, model.step_id) == (anna.site.identity.public_key, step.step_id)
    (left,) = anna.events("transfer-model-left")
    assert (left["to"], left["job"], left["model"]) == (["bern"], "job-1", done.result.model_id)


def test_a_model_that_travels_nowhere_is_neither_named_nor_sent(anna):
    done = anna.finish(train())[-1]
    assert (done.result.model_id, done.model) == (None, b"")


def test_a_model_for_another_task_of_its_own_site_stays_there_and_can_be_begun_at(tmp_path):
    site = write_transfer_site(tmp_path, {"metrics_because": "figures only", "measured_images": 1})
    done = site.finish(train(travels_to=("anna",)))[-1]
    assert (done.state, done.model) == ("done", b"")
    assert site.finish(train(start=done.result.model_id, seed=3))[-1].state == "done"
    assert site.events("transfer-model-left") == []


def test_the_log_tells_begin_and_end_with_the_job(anna):
    step = train()
    anna.finish(step)
    (begun,), (finished,) = anna.events("transfer-begun"), anna.events("transfer-finished")
    assert begun["step"] == finished["step"] == step.step_id
    assert begun["job"] == finished["job"] == "job-1"


def test_what_a_finished_step_needs_no_more_is_removed(anna):
    step = train()
    anna.finish(step)
    folder = anna.site.state.folder / "transfer" / step.step_id
    assert {path.name for path in folder.iterdir()} == {"ended.json"}


def test_files_of_a_step_are_readable_by_their_owner_only(anna):
    step = train(travels_to=("bern",))
    anna.finish(step)
    kept = [
        *anna.site.state.folder.glob("transfer/*/*"),
        *anna.site.state.folder.glob("models/*.safetensors"),
    ]
    assert len(kept) == 2
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


@pytest.mark.parametrize("error", [TrainingError, MemoryShortError])
def test_a_step_that_can_never_be_done_is_remembered(anna, monkeypatch, error):
    def diverge(self, slice_s):
        raise error(f"the loss of {FILE} is NaN")

    with monkeypatch.context() as patch:
        patch.setattr(CountingWork, "advance", diverge)
        assert anna.ask(train()).state == error.code
    assert anna.ask(train()).state == error.code
    assert len(anna.events("transfer-failed")) == 1
    assert f"the loss of {FILE}" in anna.texts()


@pytest.mark.parametrize("error", [StoreError, DataError, ValueError])
def test_a_step_that_could_not_go_on_for_now_goes_on_later(anna, monkeypatch, error):
    def fail(self, slice_s):
        raise error("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(CountingWork, "advance", fail)
        assert anna.ask(train()).state == getattr(error, "code", "internal")
    assert anna.finish(train())[-1].state == "done"


def test_another_step_meanwhile_is_told_that_the_site_is_busy(anna):
    with SiteSteps(anna.site.state.folder).alone():
        assert anna.ask(train()).state == "busy"
    assert anna.finish(train())[-1].state == "done"
    with SiteSteps(anna.site.state.folder).alone():
        assert anna.ask(train()).state == "done"
        assert anna.ask(train(seed=1)).state == "busy"


def test_a_task_must_exist(anna):
    assert anna.ask(train(task="hips")).state == "unknown-name"


def test_a_step_of_another_site_is_refused(anna):
    job = make_job(aggregator=anna.hub.public_key)
    assert answer_step(anna.site, TransferRequest(job, train(site="bern"))).state == "message"


def test_a_strange_aggregator_and_a_passed_deadline_are_refused(anna, tmp_path):
    stranger = make_identity("stranger", tmp_path)
    job = make_job(aggregator=stranger.public_key)
    assert answer_step(anna.site, TransferRequest(job, train())).state == "policy"
    assert anna.ask(train(), deadline=1.0).state == "deadline"


def test_a_kind_of_step_that_nobody_knows_is_refused(anna, monkeypatch):
    monkeypatch.delitem(WORK, "search")
    step = SearchStep(**train().model_dump(exclude={"kind", "measure"}))
    assert anna.ask(step).state == "transfer"


def test_without_a_policy_nothing_is_answered(anna, tmp_path):
    anna.site.config.policy_path.unlink()
    assert (anna.ask(train()).state, anna.roll_call().code) == ("policy", "policy")


def test_no_reply_names_a_file_or_a_patient_or_holds_an_image(anna, monkeypatch):
    def fail(self, slice_s):
        raise TrainingError(f"{FILE}-3.png of {PATIENT}-1")

    step, job = train(travels_to=("bern",)), make_job(aggregator=anna.hub.public_key)
    replies = [answer_step(anna.site, TransferRequest(job, step)) for _ in range(3)]
    monkeypatch.setattr(CountingWork, "advance", fail)
    replies.append(answer_step(anna.site, TransferRequest(job, train(seed=1))))
    assert [reply.state for reply in replies] == ["running", "done", "done", "training"]
    images = [path.read_bytes() for path in anna.site.config.dataset[0].images.iterdir()]
    for reply in replies:
        sent = bytes_of(reply.to_record(anna.site.identity))
        assert FILE.encode() not in sent
        assert PATIENT.encode() not in sent
        assert not any(image[50:90] in sent for image in images)


def test_a_roll_call_tells_what_the_policy_allows(anna, tmp_path):
    (offer,) = anna.roll_call().offers
    assert (offer.task, offer.measured, offer.models, offer.models_to) == ("digits", True, "exact", ("bern",))
    assert "timm:test_resnet" in offer.networks
    assert write_transfer_site(tmp_path / "silent", None).roll_call().offers == ()
    anywhere = write_transfer_site(tmp_path / "any", EXACT | {"models_to": "any"})
    assert anywhere.roll_call().offers[0].models_to == ()
    assert anna.roll_call(deadline=1.0).code == "deadline"


def test_flower_messages_of_both_kinds_are_answered(anna, tmp_path):
    roster = {"anna": anna.site.identity.public_key}
    recipients = tuple(roster.values())
    job = make_job(aggregator=anna.hub.public_key, reply_key=REPLY_KEY.public, recipients=recipients)
    requests = {
        QUERY_TRANSFER: seal_request(TransferRequest(job, train()).to_record(anna.hub), recipients),
        QUERY_ROLL_CALL: seal_request(RollCallRequest(job).to_record(anna.hub), recipients),
    }
    contents = {}

    def server(grid, context):
        (node_id,) = grid.get_node_ids()
        for kind, record in requests.items():
            pending = list(grid.push_messages([Message(record, node_id, kind)]))
            while kind not in contents:
                contents.update(
                    (kind, REPLY_KEY.open(reply.content)) for reply in grid.pull_messages(pending)
                )

    app = ServerApp()
    app.main()(server)
    run_in_process(app, [Node(client_app, {"site-config": str(tmp_path / "anna" / "site.toml")})], {})
    assert TransferReply.from_record(contents[QUERY_TRANSFER], roster, job, train()).state == "running"
    assert RollCallReply.from_record(contents[QUERY_ROLL_CALL], roster, job).offers[0].task == "digits"
