import subprocess
import sys

import pytest

from aggregator.flower.control import FlowerRun
from aggregator.hub_folder import HubFolder
from aggregator.jobs.attempt import Attempt, lock_of
from aggregator.jobs.job import DONE, FAILED, RUNNING
from aggregator.jobs.queue import JobQueue
from aggregator.jobs.runner import Runner
from aggregator.store import Catalogue
from federation.errors import ConfigError, DeploymentError, StoreError
from federation.files import locked


class Flower:
    """Flower's runs, as far as a runner sees them."""

    def __init__(self):
        self.known, self.configs, self.stopped, self.is_down = {}, [], [], False

    def start_run(self, config):
        if self.is_down:
            raise DeploymentError("down")
        run_id = str(len(self.configs) + 1)
        self.configs.append(config)
        self.known[run_id] = FlowerRun(run_id, "running", "", "")
        return run_id

    def run(self, run_id):
        return self.known.get(run_id)

    def runs(self):
        return list(self.known.values())

    def stop_run(self, run_id):
        self.stopped.append(run_id)
        self.end(run_id, "stopped")

    def end(self, run_id, outcome="failed", details=""):
        self.known[run_id] = FlowerRun(run_id, "finished", outcome, details)


class Hub:
    """A queue, its runner and a clock that is moved by hand."""

    def __init__(self, path):
        self.now = 0.0
        self.folder = HubFolder(path)
        self.queue = JobQueue(Catalogue(path / "catalogue.sqlite", create=True))
        self.flower = Flower()
        self.runner = Runner(self.queue, self.flower, self.folder, attempts=3, clock=lambda: self.now)

    def tick(self, n=1):
        for _ in range(n):
            self.runner.tick()
            self.now += 100.0

    def job(self):
        return self.queue.list()[0]

    def attempt(self, work):
        Attempt(self.queue, self.folder, self.job().job_id, self.job().flower_run).carry_out(work)


@pytest.fixture
def hub(tmp_path):
    made = Hub(tmp_path)
    yield made
    made.queue.catalogue.close()


def raising(error):
    def work():
        raise error

    return work


def test_a_job_is_begun_as_a_run_that_is_told_what_to_do(hub):
    job = hub.queue.ask("calibrate", {"cohort": "all"})
    hub.tick(3)
    told = {"job": "calibrate", "job-id": job.job_id, "cohort": "all", "hub-config": str(hub.folder.config)}
    assert hub.flower.configs == [told]
    assert (hub.job().state, hub.job().attempts) == (RUNNING, 1)


def test_jobs_are_done_one_after_another(hub):
    first, second = hub.queue.ask("fingerprint"), hub.queue.ask("fingerprint")
    hub.tick(3)
    assert [config["job-id"] for config in hub.flower.configs] == [first.job_id]
    hub.queue.finished(first.job_id)
    hub.tick(2)
    assert [config["job-id"] for config in hub.flower.configs] == [first.job_id, second.job_id]


def test_a_run_that_died_is_begun_again_with_the_same_job(hub):
    job = hub.queue.ask("fingerprint")
    hub.tick()
    hub.flower.end("1", details="No heartbeat received from the task")
    hub.tick(3)
    assert [config["job-id"] for config in hub.flower.configs] == [job.job_id] * 2
    assert (hub.job().flower_run, hub.job().reason) == ("2", "No heartbeat received from the task")


def test_a_run_that_flower_forgot_is_begun_again(hub):
    hub.queue.ask("fingerprint")
    hub.tick()
    hub.flower.known.clear()
    hub.tick(3)
    assert len(hub.flower.configs) == 2


def test_a_job_that_dies_again_and_again_fails_with_the_last_reason(hub):
    hub.queue.ask("fingerprint")
    for attempt in ("1", "2", "3"):
        hub.tick(3)
        hub.flower.end(attempt, details=f"death {attempt}")
    hub.tick(3)
    assert (hub.job().state, hub.job().code) == (FAILED, "deployment")
    assert hub.job().reason == "3 attempts died; the last one: death 3"
    assert len(hub.flower.configs) == 3


def test_the_next_attempt_waits_longer_every_time(hub):
    hub.queue.ask("fingerprint")
    hub.runner.tick()
    hub.flower.end("1")
    hub.runner.tick()
    hub.runner.tick()
    assert len(hub.flower.configs) == 1
    hub.now += 1.0
    hub.runner.tick()
    assert len(hub.flower.configs) == 2
    hub.flower.end("2")
    hub.runner.tick()
    hub.runner.tick()
    hub.now += 0.99
    hub.runner.tick()
    assert len(hub.flower.configs) == 2


def test_a_job_whose_process_was_killed_is_begun_again_at_once(hub):
    hub.queue.ask("fingerprint")
    hub.tick()
    lock = lock_of(hub.folder, "1")
    with locked(lock):
        hub.tick(5)
        assert hub.flower.stopped == []
    hub.tick(5)
    assert hub.flower.stopped == ["1"]
    assert hub.job().flower_run == "2"
    assert hub.job().reason == "the aggregator's process was killed"


def test_a_lock_of_a_killed_process_is_free(hub):
    hub.queue.ask("fingerprint")
    hub.tick()
    code = (
        "import sys, time; from pathlib import Path; from federation.files import locked\n"
        "with locked(Path(sys.argv[1])):\n print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(lock_of(hub.folder, "1"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        hub.tick(4)
        assert hub.flower.stopped == []
        process.kill()
    hub.tick(4)
    assert hub.flower.stopped == ["1"]


def test_a_job_that_recorded_its_end_before_its_process_died_is_not_begun_again(hub):
    hub.queue.ask("fingerprint")
    hub.tick()
    hub.attempt(lambda: None)
    hub.flower.end("1", "failed")
    hub.tick(5)
    assert hub.job().state == DONE
    assert len(hub.flower.configs) == 1


def test_a_run_is_seen_off_until_flower_says_that_it_ended(hub):
    hub.queue.ask("fingerprint")
    hub.tick()
    hub.attempt(lambda: None)
    hub.tick(2)
    assert lock_of(hub.folder, "1").exists()
    hub.flower.end("1", "completed")
    hub.tick(2)
    assert not lock_of(hub.folder, "1").exists()


def test_a_run_that_an_earlier_runner_started_and_did_not_record_is_stopped(hub):
    hub.queue.ask("fingerprint")
    hub.flower.start_run({})
    hub.runner.tidy()
    assert hub.flower.stopped == ["1"]
    hub.tick()
    hub.runner.tidy()
    assert hub.flower.stopped == ["1"]


def test_a_superlink_that_is_down_costs_no_attempt(hub):
    hub.queue.ask("fingerprint")
    hub.flower.is_down = True
    for _ in range(10):
        with pytest.raises(DeploymentError):
            hub.tick()
    hub.flower.is_down = False
    hub.tick()
    assert hub.job().attempts == 1


def test_an_error_of_ours_ends_the_job_with_its_code_and_text(hub):
    hub.queue.ask("calibrate")
    hub.tick()
    with pytest.raises(DeploymentError, match="the job ended with config") as raised:
        hub.attempt(raising(ConfigError("there is no cohort 'x'", remedy="name another")))
    assert "cohort" not in str(raised.value)
    assert (hub.job().state, hub.job().code) == (FAILED, "config")
    assert hub.job().reason == "there is no cohort 'x' → name another"


@pytest.mark.parametrize("error", [StoreError("the disk is full"), ValueError("odd")])
def test_what_passes_leaves_the_job_to_be_begun_again(hub, error):
    hub.queue.ask("fingerprint")
    hub.tick()
    with pytest.raises(DeploymentError):
        hub.attempt(raising(error))
    assert (hub.job().state, hub.job().flower_run) == (RUNNING, "")
    assert str(error) in hub.job().reason
    hub.tick(2)
    assert hub.job().flower_run == "2"


def test_a_process_that_comes_late_does_no_work_for_a_job_that_ended(hub):
    job = hub.queue.ask("fingerprint")
    hub.tick()
    hub.queue.finished(job.job_id)
    hub.attempt(raising(AssertionError("worked")))
    assert hub.job().state == DONE
