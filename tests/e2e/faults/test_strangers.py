"""Who is no member, is one no longer, or pretends to be another: kept out, and nobody else notices."""

import shutil
import time
from dataclasses import replace

import httpx
import pytest
from faults import Case
from loopback import PATIENCE_S, SITES, Place, Task, command, free_ports, kill_tree, wait_until
from typer.testing import CliRunner

from aggregator.config import HubConfig
from deploy.cli import app as command_line
from federation.files import write_atomically
from federation.membership import Membership
from federation.node_key import new_node_key
from site_agent.config import SiteConfig
from site_agent.deployment_check.connection import SKEW_FAIL_S, check_connection
from site_agent.deployment_check.finding import State
from site_agent.flower.link_status import read_link

pytestmark = pytest.mark.faults


@pytest.fixture
def newcomer(served):
    """Return a fourth site, that was let in while everybody works and is put out afterwards."""
    name = f"dora-{free_ports(1)[0]}"
    served.sites[name] = served.enrol(name)
    served.serve_site(name)
    served.wait_for_sites(name)
    yield served.sites[name]
    place = served.sites.pop(name)
    kill_tree(place.process)
    CliRunner().invoke(
        command_line, ["hub", "revoke", name, "--because", "over", "--folder", str(served.hub.path)]
    )


def told(served, place):
    """What a site's status says about its connection, once it says that there is none."""

    def refusal():
        link = read_link(place.folder.link_status, time.time())
        return link.last_error if link.updated and not link.connected else ""

    return wait_until(refusal, f"the refusal{served.tails()}")


def start_copy(served, place, name, node_key=None):
    """Serve a copy of a site's folder beside it, with the same keys or with another of its node."""
    copy = Place(served.path / name)
    shutil.copytree(place.folder.path, copy.folder.path, ignore=shutil.ignore_patterns("flower", "logs"))
    runtime_port, metrics_port = free_ports(2)
    ports = {"runtime_port": runtime_port, "metrics_port": metrics_port}
    served.rewrite(copy.folder.config, lambda said: said.update(serve=ports))
    if node_key is not None:
        write_atomically(copy.folder.node_key, node_key)
    copy.process = served.start(copy.folder.path / "serve.log", "site", "serve", copy.folder.path)
    return copy


def test_the_certificate_alone_opens_no_door(served, case_of):
    serve = HubConfig.read(served.hub.config).serve
    with httpx.Client(verify=str(served.hub.ca_certificate), base_url=f"https://{serve.address}") as outsider:
        assert outsider.get("/health").status_code == 200
        for path in ("control/start-run", "control/list-nodes", "runtime/acquire-task", "runtime/pull-fab"):
            assert outsider.post(f"/v1/{path}", content=b"").status_code in (401, 403, 404)
        protobuf = {"content-type": "application/protobuf"}
        for path in ("activate-node", "pull-messages", "push-messages", "get-fab"):
            refused = outsider.post(f"/v1/fleet/{path}", content=b"", headers=protobuf)
            assert refused.status_code in (400, 401, 403, 404), path
    case = case_of()
    case.ask()
    assert case.finish() == []
    case.verify()


@pytest.mark.telling
def test_a_node_key_that_nobody_registered_is_refused_and_the_site_told_so(served):
    stranger = start_copy(served, served.sites["cork"], "stranger", new_node_key())
    assert "does not accept this site's node key" in told(served, stranger)
    kill_tree(stranger.process)


def test_a_copy_of_a_site_is_not_served_beside_it(served, case_of):
    copy = start_copy(served, served.sites["cork"], "cork-copy")
    assert copy.process.wait(PATIENCE_S) != 0
    assert "is served on this machine already" in (copy.folder.path / "serve.log").read_text()
    case = case_of()
    case.ask()
    case.finish()
    case.verify()
    assert copy.events("released") == [
        event for event in served.sites["cork"].events("released") if event in copy.events("released")
    ]


def test_a_second_site_of_the_same_name_with_other_keys_is_not_let_in(served):
    invitation, twin = served.path / "anna.invitation.json", served.path / "anna-twin"
    said = CliRunner().invoke(command_line, ["site", "init", str(invitation), "--folder", str(twin), "--yes"])
    assert said.exit_code == 0, said.output
    refused = CliRunner().invoke(
        command_line,
        ["hub", "approve", str(twin / "anna.enrolment.json"), "--folder", str(served.hub.path)],
        input="y\n",
    )
    assert refused.exit_code != 0
    assert "anna" in str(refused.exception)


def test_a_member_that_answers_in_another_name_is_refused(served, number):
    tasks = (Task(f"open-{next(number)}", "open", SITES),)
    served.offer(*tasks)
    case, liar = Case(served, tasks), served.sites["bern"]
    config = liar.folder.config.read_text()
    served.rewrite(liar.folder.config, lambda said: said.update(name="anna"))
    try:
        case.ask()
        job = served.ended(case.jobs[-1])
    finally:
        liar.folder.config.write_text(config)
    summary = served.summary(job.job_id)
    assert {each["site"] for each in summary["missing"]} == {"bern"}
    assert not [address for address in summary["accepted"] if address.startswith("bern/")]
    case.ask()
    assert case.finish() == []
    case.verify()


def test_a_newcomer_is_let_in_while_others_work_and_is_out_within_seconds(served, newcomer, case_of):
    case = case_of()
    case.ask()
    case.finish()
    case.verify()
    others = set(served.sites) - {newcomer.name}
    command("hub", "revoke", newcomer.name, "--because", "left", "--folder", served.hub.path)
    wait_until(lambda: newcomer.name not in (served.nodes() or {newcomer.name}), "the end of its node", 30)
    assert others <= set(served.nodes())
    assert told(served, newcomer)
    case.ask()
    case.finish()
    case.verify()


def test_a_membership_that_expires_ends_by_itself(served, newcomer, case_of):
    path = served.hub.members / f"{newcomer.name}.json"
    membership = Membership.from_bytes(path.read_bytes(), served.key.public_key)
    short = replace(membership, serial=membership.serial + 1, valid_until=int(time.time()) + 5)
    path.write_bytes(short.signed(served.key).to_bytes())
    wait_until(lambda: newcomer.name not in (served.nodes() or {newcomer.name}), "the end of its node", 60)
    case = case_of()
    case.ask()
    assert case.finish() == []
    case.verify()


def test_a_bundle_that_a_site_does_not_approve_does_not_run_there_and_the_hub_is_told(served, case_of):
    case, place = case_of(), served.sites["cork"]
    (approved,) = place.folder.approved_bundles.glob("*.fab")
    command("site", "approve", place.folder.path, "--revoke", approved.stem, "--yes")
    try:
        case.ask()
        job = served.ended(case.jobs[-1])
    finally:
        command("site", "approve", place.folder.path, "--installed", "--yes")
    (missing,) = served.summary(job.job_id)["missing"]
    assert (missing["site"], missing["code"]) == ("cork", "bundle-not-approved")
    case.ask()
    case.finish()
    case.verify()


@pytest.mark.parametrize("ahead", [-2 * SKEW_FAIL_S, 2 * SKEW_FAIL_S])
def test_a_clock_that_is_wrong_is_found_before_anything_else_fails(served, ahead):
    config = SiteConfig.read(served.sites["anna"].folder.config)
    findings = {each.name: each for each in check_connection(config.hub, lambda: time.time() + ahead)}
    assert findings["clock"].state is State.FAIL
    assert ("ahead of" if ahead > 0 else "behind") in findings["clock"].text
