import json
import time

import pytest
from observed import say_what_runs
from private_site import KEY, Colours, write_private_site
from typer.testing import CliRunner

from deploy.cli import app
from federation.files import write_atomically
from site_agent import jobs
from site_agent.operations import status
from site_agent.operations.site_reading import SiteParts
from site_agent.site_folder import SiteFolder


@pytest.fixture(autouse=True)
def _colours(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture
def site(tmp_path):
    found = write_private_site(tmp_path / "anna")
    found.approve()
    found.forget_the_open_ledger()
    return found


def invite(site, key=KEY):
    """Name a hub in the site file, as accepting an invitation does."""
    file = site.folder / "site.toml"
    hub = f'[hub]\naddress = "hub.example:8000"\nconsortium = "Chests"\npublic_key = "{key}"\n\n'
    head, table, rest = file.read_text().partition("[[dataset]]")
    file.write_text(head + hub + table + rest)


def connect(site, *, connected=True):
    link = {
        "connected": connected,
        "since": time.time(),
        "last_error": "the cable is out",
        "waiting_bundles": 0,
    }
    path = SiteFolder(site.folder).link_status
    write_atomically(path, json.dumps(link | {"updated": time.time()}).encode())


def shown(site, *arguments):
    done = CliRunner().invoke(app, ["site", "status", str(site.folder), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def next_steps(site):
    return list(status.next_steps(SiteParts.of(SiteFolder(site.folder)).read()))


def test_what_left_to_whom_and_what_it_cost_is_shown(site):
    invite(site)
    site.release("job-1")
    site.open().state.record("sent", job="job-1", aggregator=KEY, bytes=2_500_000)
    text = shown(site)
    (row,) = [line for line in text.splitlines() if line.startswith("job-1")]
    assert "lungs (private)" in row
    assert "2.5 MB" in row
    assert "Chests" in row
    (row,) = [line for line in text.splitlines() if line.startswith("task lungs")]
    left, spent, limit, delta = map(float, row.split()[2:])
    assert (limit, delta) == (pytest.approx(6, rel=1e-3), 1e-6)
    assert 0 < spent <= 1.001
    assert left < limit


def test_json_says_the_same(site):
    invite(site)
    site.release("job-1")
    site.open().state.record("sent", job="job-1", aggregator="cd" * 32, bytes=70)
    told = json.loads(shown(site, "--json"))
    (job,) = told["jobs"]
    assert (job["bytes"], job["to"]) == (70, [f"{'cd' * 8}…"])
    assert job["released"] == [{"task": "lungs", "mode": "private"}]
    assert {budget["name"] for budget in told["budgets"]} == {"lungs", "patients"}
    assert told["consortium"] == "Chests"


def test_what_was_not_done_is_shown_by_code(site):
    site.ask("job-1", deadline=time.time() - 1)
    (row,) = [line for line in shown(site).splitlines() if line.startswith("job-1")]
    assert "no data" in row
    assert "lungs deadline" in row


def test_a_site_without_a_hub_is_told_how_to_get_one(site):
    assert next_steps(site) == [
        "this site belongs to no hub: `fedprint site init INVITATION` begins one that does"
    ]


def test_a_site_that_does_not_run_is_told_to_and_one_without_connection_to_check(site):
    invite(site)
    assert next_steps(site)[0] == "`fedprint site serve FOLDER` starts the site"
    say_what_runs(SiteFolder(site.folder).supervisor_status, supernode=0)
    connect(site, connected=False)
    assert "the cable is out" in shown(site)
    assert next_steps(site)[0].startswith("`fedprint site check FOLDER`")
    connect(site)
    assert "connected since" in shown(site)


def test_bundles_that_wait_are_a_next_step(site):
    write_atomically(SiteFolder(site.folder).waiting_bundles / f"{'a' * 64}.fab", b"x")
    assert "1 app bundle for approval" in shown(site)
    assert "`fedprint site approve FOLDER` shows the app bundles that wait, and what changed" in next_steps(
        site
    )


def test_what_cannot_be_read_is_said_with_its_remedy(site):
    (site.folder / "policy.toml").unlink()
    text = shown(site)
    assert "! budgets: there is no policy" in text
    assert json.loads(shown(site, "--json"))["problems"]["budgets"]["code"] == "policy"
