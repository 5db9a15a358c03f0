import json

import pytest
from hub_folders import write_hub
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.config import HubConfig
from aggregator.jobs.queue import JobQueue
from aggregator.store import Catalogue
from federation.errors import ConfigError, DeploymentError, UnknownNameError


@pytest.fixture
def folder(tmp_path):
    return write_hub(tmp_path)


def hub(folder, *arguments):
    return CliRunner().invoke(app, [*arguments, "--folder", str(folder.path)], catch_exceptions=True)


def queue_of(folder):
    return JobQueue(Catalogue(HubConfig.read(folder.config).catalogue))


def test_a_job_is_put_into_the_queue(folder):
    said = json.loads(hub(folder, "run", "fingerprint", "--no-wait", "--json").stdout)
    assert (said["kind"], said["state"], said["arguments"]) == ("fingerprint", "waiting", {})
    assert [job.job_id for job in queue_of(folder).list()] == [said["job"]]


def test_who_does_not_wait_is_told_where_to_look(folder):
    assert "waits in the queue" in hub(folder, "run", "fingerprint", "--no-wait").stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["transfer"], ConfigError),
        (["fingerprint", "--plan", "plan.toml"], ConfigError),
        (["calibrate"], ConfigError),
        (["fingerprint", "--cohort", "all"], ConfigError),
        (["calibrate", "--cohort", "all"], UnknownNameError),
        (["transfer", "--plan", "none.toml"], ConfigError),
    ],
)
def test_what_cannot_be_done_is_refused_before_it_waits(folder, arguments, error):
    assert isinstance(hub(folder, "run", *arguments, "--no-wait").exception, error)
    assert queue_of(folder).list() == []


def test_a_failed_job_is_an_error_with_its_reason(folder, monkeypatch):
    def fail(self, kind, arguments=None, job_id=""):
        job = ask(self, kind, arguments, job_id)
        self.failed(job.job_id, "store", "the disk is full")
        return self.get(job.job_id)

    ask = JobQueue.ask
    monkeypatch.setattr(JobQueue, "ask", fail)
    error = hub(folder, "run", "fingerprint").exception
    assert isinstance(error, DeploymentError)
    assert "store" in str(error)
    assert "the disk is full" in str(error)


def test_who_stops_waiting_is_told_that_the_job_goes_on(folder, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("aggregator.jobs.cli.time.sleep", interrupt)
    said = hub(folder, "run", "fingerprint").output
    (job,) = queue_of(folder).list()
    assert f"job {job.job_id} stays in the queue without you" in said


def test_jobs_are_listed_with_their_ends(folder):
    assert "nothing was asked" in hub(folder, "jobs").stdout
    hub(folder, "run", "fingerprint", "--no-wait")
    queue = queue_of(folder)
    queue.failed(queue.list()[0].job_id, "config", "there is no space")
    (job,) = json.loads(hub(folder, "jobs", "--json").stdout)["jobs"]
    assert (job["state"], job["code"], job["reason"]) == ("failed", "config", "there is no space")
    assert "failed" in hub(folder, "jobs").stdout
