import json
import time

import pytest
from observed import observed_hub, say_what_runs
from onboarded import Guests, founded
from typer.testing import CliRunner

from aggregator.jobs.queue import JobQueue
from aggregator.operations import status
from aggregator.operations.hub_reading import HubParts
from aggregator.store import Catalogue
from deploy.cli import app

DAY = 86_400.0


@pytest.fixture
def hub(tmp_path):
    folder = observed_hub(tmp_path / "hub")
    say_what_runs(folder.supervisor_status, superlink=0, runner=0)
    return folder


def shown(*arguments):
    done = CliRunner().invoke(app, ["hub", "status", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def next_steps(hub, clock=time.time):
    return list(status.next_steps(HubParts.of(hub, clock).read()))


def test_a_new_hub_is_told_to_invite(hub):
    text = shown(hub.path)
    assert "Chests" in text
    assert "runner, superlink run" in text
    assert "→ `fedprint hub invite SITE` invites the first hospital" in text


def test_jobs_are_shown_with_why_they_failed_and_what_to_do(hub):
    queue = JobQueue(Catalogue(hub.path / "catalogue.sqlite"))
    queue.ask("calibrate", job_id="job-1")
    queue.began("job-1", "5")
    queue.failed("job-1", "too-few", "two sites answered, three are needed")
    text = shown(hub.path)
    assert "[too-few] two sites answered, three are needed" in text
    assert "`fedprint hub run calibrate` asks again" in text


def test_json_says_the_same(hub):
    JobQueue(Catalogue(hub.path / "catalogue.sqlite")).ask("fingerprint", job_id="job-1")
    told = json.loads(shown(hub.path, "--json"))
    assert told["catalogue"]["waiting"] == 1
    assert told["catalogue"]["latest"][0]["job_id"] == "job-1"
    assert [process["name"] for process in told["processes"]] == ["runner", "superlink"]
    assert {entry["what"] for entry in told["expires"]} == {"certificate server", "certificate ca"}
    assert told["problems"] == {}


def test_certificates_are_warned_of_thirty_days_ahead(hub):
    reading = HubParts.of(hub).read()
    ends = reading.certificates["server"]
    assert not [step for step in next_steps(hub, lambda: ends - 31 * DAY) if "certificate" in step]
    (step,) = [step for step in next_steps(hub, lambda: ends - 29 * DAY) if "server" in step]
    assert "in 29 days" in step
    assert "`fedprint hub renew-certificate`" in step


def test_a_hub_that_does_not_run_is_told_to(hub):
    hub.supervisor_status.unlink()
    assert next_steps(hub)[0] == "`fedprint hub serve FOLDER` starts the hub"
    say_what_runs(hub.supervisor_status, superlink=0, runner=None)
    assert next_steps(hub)[0].startswith("runner does not run")


def test_what_cannot_be_read_is_said_with_its_remedy(hub):
    (hub.path / "hub.key").unlink()
    text = shown(hub.path)
    assert "! members: the signing key" in text
    assert "restore it from backup" in text
    assert json.loads(shown(hub.path, "--json"))["problems"]["members"]["code"] == "store"


def test_a_catalogue_alone_has_a_status_too(hub):
    catalogue = hub.path / "catalogue.sqlite"
    JobQueue(Catalogue(catalogue)).ask("fingerprint", job_id="job-1")
    assert "1 waiting" in shown("--catalogue", catalogue)
    assert json.loads(shown("--catalogue", catalogue, "--json"))["waiting"] == 1


def test_a_hub_that_waits_for_answers_names_them(tmp_path):
    hub = founded(tmp_path / "hub")
    Guests(hub, tmp_path).invited("anna", time.time())
    assert any("anna.enrolment.json" in step for step in next_steps(hub.folder))
    assert not any("invites the first hospital" in step for step in next_steps(hub.folder))


def test_a_hub_that_never_served_is_told_to(tmp_path):
    text = shown(founded(tmp_path / "hub").folder.path)
    assert "`fedprint hub serve`, `fedprint simulate` and `fedprint demo` begin one" in text
