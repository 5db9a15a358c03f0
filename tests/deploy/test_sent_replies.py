"""Every reply is on its site's record before it leaves."""

import json

import pytest
from small_federation import SITES, write_small_federation

from aggregator.server_app import app as server_app
from deploy.federation_file import FederationConfig
from deploy.inprocess import Node, run_in_process
from deploy.simulation import prepare
from federation.errors import StoreError
from site_agent.client_app import app as client_app
from site_agent.state import SiteState


@pytest.fixture
def federation(tmp_path):
    return prepare(FederationConfig.read(write_small_federation(tmp_path)))


def replies(prepared):
    """What the sites answer to a job, as Flower carries it."""
    nodes = [Node(client_app, {"site-config": str(path)}) for path in prepared.site_files]
    grid = run_in_process(server_app, nodes, {"hub-config": str(prepared.hub_file)}, record=True)
    return [sent.message for sent in grid.sent if sent.direction == "up"]


def test_a_reply_is_recorded_with_its_size_and_who_gets_it(federation, tmp_path):
    left = [reply.content for reply in replies(federation)]
    sizes = sorted(sum(len(array.data) for array in content["sealed"].values()) for content in left)
    logs = [SiteState(tmp_path / "run" / "sites" / site).events() for site in SITES]
    recorded = [event for log in logs for event in log if event["event"] == "sent"]
    assert sorted(event["bytes"] for event in recorded) == sizes
    key = {event["aggregator"] for event in recorded}
    assert len(key) == 1
    assert len(recorded) > len(SITES)
    assert json.dumps(sorted(key))[2:66] in (tmp_path / "run" / "sites" / "anna" / "policy.toml").read_text()


def test_nothing_leaves_that_cannot_be_put_on_record(federation, monkeypatch):
    def fail(*_, **__):
        raise StoreError("the disk is full")

    monkeypatch.setattr(SiteState, "record", fail)
    left = replies(federation)
    assert left
    assert not [reply for reply in left if reply.has_content()]
    assert {reply.error.reason for reply in left} == {"store"}
