"""``fedprint hub serve`` as a real process, with sites that connect over TLS."""

import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from served_hub import FEDPRINT, ServedHub, wait_until
from small_federation import write_small_federation

from aggregator.jobs.job import DONE
from aggregator.store import Catalogue
from deploy.federation_file import FederationConfig
from deploy.simulation import prepare


@pytest.fixture
def hub(tmp_path):
    prepared = prepare(FederationConfig.read(write_small_federation(tmp_path, trusts=("open", "open"))))
    with ExitStack() as running:
        yield ServedHub(prepared, running)


@pytest.fixture
def served(hub):
    hub.serve()
    for site in ("anna", "bern"):
        hub.join(site)
    hub.online("anna", "bern")
    return hub


def finished(hub, job_id):
    wait_until(lambda: not hub.job(job_id).is_open, lambda: f"the end of the job{hub.tails()}")
    job = hub.job(job_id)
    assert job.state == DONE, job.reason + hub.tails()
    return Catalogue(hub.prepared.catalogue).run_summary(job_id)


def test_a_fingerprint_job_runs_from_asking_to_the_matrix(served):
    said = served.command("run", "fingerprint").stdout
    assert "2 fingerprints" in said
    assert "anna/digits" in said
    assert "missing" not in said
    assert served.command("jobs").stdout.count("done") == 1

    # A job that cannot be done fails at once with its reason, and the next one is done.
    served.folder.path.joinpath("space.safetensors").rename(served.folder.path / "space.away")
    failing = served.ask("fingerprint")
    wait_until(lambda: "space" in served.job(failing).reason, "the reason")
    served.folder.path.joinpath("space.away").rename(served.folder.path / "space.safetensors")
    assert finished(served, failing)["missing"] == []
    assert served.job(failing).attempts > 1

    served.revoke("bern")
    wait_until(lambda: "bern" not in (served.nodes() or {"bern": ""}), "the end of the registration")
    assert finished(served, served.ask("fingerprint"))["accepted"] == ["anna/digits"]

    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    assert served.aggregator_pids() == []


def test_a_killed_aggregator_and_a_killed_superlink_cost_an_attempt_and_no_job(served):
    job_id = served.ask("fingerprint")
    wait_until(lambda: any(served.folder.runs.glob("*.lock")), "the begin of work")
    for pid in served.aggregator_pids():
        (token,) = served.folder.task_tokens.iterdir()
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert token.read_bytes() not in words
        assert str(token).encode() in words
        os.kill(pid, signal.SIGKILL)
    assert finished(served, job_id)["missing"] == []
    assert served.job(job_id).attempts == 2

    job_id = served.ask("fingerprint")
    wait_until(lambda: any(served.folder.runs.glob("*.lock")), "the begin of work")
    before = served.pid_of("superlink")
    os.kill(before, signal.SIGKILL)
    assert finished(served, job_id)["missing"] == []
    assert served.pid_of("superlink") != before


def test_a_hub_is_served_once(hub):
    hub.serve()
    second = subprocess.run(
        [*FEDPRINT, "hub", "serve", str(hub.folder.path)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert "is being served already" in second.stderr
    assert hub.nodes() is not None
