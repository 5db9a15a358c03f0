"""After a job sites witness the log; whatever they do, the job is done."""

import dataclasses
import time

import pytest
from factories import make_identity
from flwr.app import Message
from transfer_sites import ScriptedGrid
from witnesses import Hub, Witness

from aggregator.log.heads import cosigned_heads
from aggregator.log.witness import Witnessing
from federation.log.kinds import WITNESS_REFUSED
from federation.log.messages import QUERY_WITNESS, WitnessReply, WitnessRequest
from federation.log.update import LogUpdate
from federation.membership import Membership
from federation.node_key import new_node_key, public_text, read_node_key
from federation.sealed_record import open_request, seal_reply
from site_agent.hub_log.witness import answer_witness

NODES = {"anna": 100, "bern": 101}


class WitnessGrid(ScriptedGrid):
    """Nodes that answer the witnesses' round at once."""

    def __init__(self, sites):
        super().__init__(sites)
        self.requests = []
        self.twist = lambda site, reply: reply

    def _answer(self, message):
        assert message.metadata.message_type == QUERY_WITNESS
        witness = self.nodes[message.metadata.dst_node_id]
        site = witness.site
        request = WitnessRequest.from_record(open_request(message.content, site.identity))
        self.requests.append((witness.name, LogUpdate.from_bytes(request.update), request))
        reply = self.twist(witness.name, answer_witness(site, request))
        if reply is None:
            return None
        return Message(seal_reply(reply.to_record(site.identity), request.job), reply_to=message)


@pytest.fixture
def hub(tmp_path):
    return Hub(tmp_path / "hub")


@pytest.fixture
def sites(tmp_path, hub):
    return [Witness(tmp_path, name, hub) for name in NODES]


@pytest.fixture
def grid(sites):
    return WitnessGrid(sites)


@pytest.fixture
def witnessing(hub, sites, grid):
    roster = {each.name: each.site.identity.public_key for each in sites}
    return Witnessing(grid, hub.identity, "job-1", roster, hub.catalogue, timeout_s=0.2)


def witnessed(hub):
    return {(head.site, head.signed.size) for head in hub.catalogue.read(cosigned_heads)}


def test_sites_are_shown_what_is_new_to_them_and_what_others_co_signed(hub, grid, witnessing):
    hub.tell()
    witnessing.ask(NODES)
    hub.tell(), hub.tell(site="bern")
    witnessing.ask(NODES)
    assert witnessed(hub) == {("anna", 1), ("bern", 1), ("anna", 3), ("bern", 3)}
    name, update, _ = grid.requests[-1]
    assert (name, update.since, [e.index for e in update.entries]) == ("bern", 1, [2])
    assert [(o.head.site, o.head.signed.size) for o in update.others] == [("anna", 1)]


def test_a_lost_reply_is_made_up_for_by_the_next_round(hub, grid, witnessing):
    hub.tell()
    grid.twist = lambda name, reply: None if name == "anna" else reply
    witnessing.ask(NODES)
    assert witnessed(hub) == {("bern", 1)}
    grid.twist = lambda name, reply: reply
    hub.tell()
    witnessing.ask(NODES)
    assert witnessed(hub) == {("bern", 1), ("anna", 2), ("bern", 2)}
    assert [update.since for name, update, _ in grid.requests if name == "anna"] == [0, 0, 1]


def test_a_site_whose_copy_was_restored_from_a_backup_is_brought_up_to_date(hub, sites, grid, witnessing):
    for _ in range(3):
        hub.tell()
        witnessing.ask(NODES)
    for path in sorted(sites[0].copy.folder.glob("0*.json"))[1:]:
        path.unlink()
    hub.tell()
    witnessing.ask(NODES)
    assert ("anna", 4) in witnessed(hub)
    assert sites[0].sitting.verify().findings == ()


def test_a_refusal_is_told_loudly_and_fails_nothing(tmp_path, hub, grid, sites, witnessing, caplog):
    hub.tell("accepted", "accepted")
    witnessing.ask(NODES)
    restored = Hub(tmp_path / "restored", key=tmp_path / "hub" / "hub.key")
    restored.tell("other")
    again = dataclasses.replace(witnessing, catalogue=restored.catalogue)
    again.ask(NODES)
    assert "refuses to witness the log of size 1: log-contradiction; it keeps one of size 2" in caplog.text
    assert "restored from an older backup" in caplog.text
    refused = [e for e in restored.catalogue.events() if e["kind"] == WITNESS_REFUSED]
    assert {(e["site"], e["code"]) for e in refused} == {(n, "log-contradiction") for n in NODES}
    assert witnessed(restored) == set()


def test_a_signature_of_somebody_else_is_not_kept(hub, grid, witnessing, caplog):
    hub.tell()
    grid.twist = lambda name, reply: dataclasses.replace(reply, signature=bytes(64))
    witnessing.ask(NODES)
    assert witnessed(hub) == set()
    assert "does not match the key" in caplog.text


@pytest.mark.parametrize("raised", [RuntimeError("boom"), OSError("disk")])
def test_whatever_goes_wrong_the_job_is_done(hub, witnessing, monkeypatch, caplog, raised):
    def fail(*_):
        raise raised

    monkeypatch.setattr("aggregator.log.witness.updates", fail)
    hub.tell()
    witnessing.ask(NODES)
    assert "the log was not witnessed" in caplog.text


def test_strangers_and_nobody_are_not_asked(hub, grid, witnessing):
    hub.tell()
    witnessing.ask({"zoe": 102})
    witnessing.ask({})
    assert grid.requests == []


def test_a_site_gets_its_own_membership(tmp_path, hub, grid, sites, witnessing):
    members = tmp_path / "members"
    members.mkdir()
    (members / "anna.json").write_bytes(b"whatever lies there")
    hub.tell()
    dataclasses.replace(witnessing, members=members).ask(NODES)
    assert {name: request.membership for name, _, request in grid.requests} == {
        "anna": b"whatever lies there", "bern": b"",
    }  # fmt: skip


def deployed(site):
    text = site.file.read_text()
    hub = f'[hub]\naddress = "hub:1"\nconsortium = "C"\npublic_key = "{site.hub_key}"\n'
    site.file.write_text(text + hub)


def test_in_a_deployment_a_newer_membership_is_kept_and_an_older_one_is_not(
    tmp_path, hub, grid, sites, witnessing
):
    anna, members = sites[0], tmp_path / "members"
    deployed(anna)
    members.mkdir()
    kept = anna.file.parent / "hub" / "membership.json"
    asked = dataclasses.replace(witnessing, members=members)
    own, now = anna.site.identity.public_key, int(time.time())
    key_file = anna.site.state.folder / "node.key"
    key_file.write_bytes(new_node_key())
    node_key = public_text(read_node_key(key_file.read_bytes()))

    def offer(serial, key=own):
        told = Membership("anna", "C", key, node_key, serial, now, now + 1000)
        (members / "anna.json").write_bytes(told.signed(hub.identity).to_bytes())
        hub.tell()
        asked.ask(NODES)

    offer(2)
    second = kept.read_bytes()
    assert Membership.from_bytes(second, hub.identity.public_key).serial == 2
    offer(1)
    offer(3, make_identity("other", tmp_path).public_key)
    assert kept.read_bytes() == second
    assert [event["code"] for event in anna.events("log-refused")] == ["membership", "membership"]
    offer(4)
    assert Membership.from_bytes(kept.read_bytes(), hub.identity.public_key).serial == 4
    assert anna.copy.folder.parent == anna.file.parent / "hub" / "log"


def test_a_reply_reads_back(hub, sites):
    reply = WitnessReply("anna", "job-1", "00" * 16, "done", 7, b"1" * 64)
    request = hub.request("anna", hub.update("anna"), nonce="00" * 16)
    identity = sites[0].site.identity
    roster = {"anna": identity.public_key}
    assert WitnessReply.from_record(reply.to_record(identity), roster, request.job) == reply
