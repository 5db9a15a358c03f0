from dataclasses import replace

import httpx
import pytest
from flwr.supercore.fab import Fab
from flwr.supercore.run import Run, RunNotRunningException
from served_site import Authority, write_site

from federation.app_bundle import bundle_bytes, bundle_hash
from site_agent.config import SiteConfig
from site_agent.flower.supernode_guard import GuardedNode, _is_final


@pytest.fixture(scope="module")
def authority():
    return Authority.make()


@pytest.fixture
def node(tmp_path, authority):
    folder = write_site(tmp_path / "site", authority, "hub.example.org:8000")
    node = GuardedNode(folder, SiteConfig.read(folder.config))
    node._bundles.approve(bundle_bytes())
    return node


def run(**changed):
    named = {"fab_id": "fedprint/fedprint-app", "fab_version": "0.1.0", "fab_hash": bundle_hash(), **changed}
    return replace(Run.create_empty(7), **named)


def is_admitted(node, run, bundle=None):
    """Flower runs what carries the label and is verified."""
    looked_at = node._looked_at(run)
    sent = Fab("the name that the hub sends", bundle or bundle_bytes(), {})
    labelled = node._labelled(sent, looked_at.fab_hash, looked_at.run_id)
    return bool(labelled.verifications) and node._admits(labelled, None)


def test_a_run_of_the_approved_bundle_is_admitted(node):
    assert is_admitted(node, run())


@pytest.mark.parametrize(
    "changed",
    [
        {"fab_version": "0.1.0/../../../../tmp/x"},
        {"fab_id": "fedprint/../x"},
        {"fab_id": "../x"},
        {"fab_id": ""},
        {"primary_task_type": "flwr-agentapp"},
    ],
)
def test_a_run_that_would_lead_elsewhere_is_refused(node, changed):
    assert not is_admitted(node, run(**changed))


def test_a_run_that_calls_its_bundle_by_another_name_is_refused(node):
    assert not is_admitted(node, run(fab_hash="0" * 64))
    assert not is_admitted(node, run(), bundle=b"another")


def test_a_refused_bundle_waits(node):
    assert not is_admitted(node, run(fab_hash="0" * 64), bundle=b"another")
    assert len(node._bundles.waiting()) == 1


def status_error(status):
    response = httpx.Response(status, request=httpx.Request("POST", "https://hub.example.org"))
    return httpx.HTTPStatusError("refused", request=response.request, response=response)


def test_a_lost_connection_is_never_final():
    for error in (httpx.ConnectError("SSL"), httpx.ReadTimeout("late"), status_error(503)):
        assert not _is_final(error)
    assert _is_final(status_error(401))
    with pytest.raises(RunNotRunningException):
        _is_final(status_error(403))
