"""The same apps as in a simulation, on a real SuperLink and real SuperNodes over loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from flwr.proto.control_pb2 import ListRunsRequest, ListRunsResponse
from small_federation import SITES, write_small_federation
from small_transfer import write_small_transfer

from aggregator import matrix
from aggregator.store import Catalogue
from aggregator.transfer.queue import Queue, find_plan
from deploy.federation_file import FederationConfig
from deploy.simulation import prepare
from deploy.transfer_simulation import prepare_transfer
from federation.identity import Identity
from site_agent.ledger.storage import LedgerFiles
from site_agent.ledger.verify import verify_ledger
from site_agent.state import SiteState
from site_agent.transfer.turn import BEGUN

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PATIENCE_S = 180


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("flower")


@pytest.fixture(scope="module")
def environment(folder):
    return os.environ | {
        "FLWR_HOME": str(folder / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture(scope="module")
def start(environment, folder):
    """Start a long-running process of Flower; all end with the module."""
    with ExitStack() as running:

        def launch(name, *arguments):
            log = running.enter_context((folder / f"{name}.log").open("ab"))
            process = subprocess.Popen(
                [BIN / arguments[0], *map(str, arguments[1:])],
                env=environment | {"FLWR_HOME": str(folder / f"flwr-{name}")},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            running.callback(end, process)
            return process

        yield launch


def end(process):
    with suppress(ProcessLookupError):  # a test may have ended it before
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, patience_s=PATIENCE_S):
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen within {patience_s} s")


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Superlink:
    """A SuperLink, and a SuperNode for every site; whose files they read changes from test to test."""

    def __init__(self, environment, start, folder):
        self.environment, self.start, self.port = environment, start, free_port()
        self.current, self.nodes, self.prepared = folder / "current", {}, None
        home = Path(environment["FLWR_HOME"])
        home.mkdir()
        address = f'address = "127.0.0.1:{self.port}"'
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "test"\n[superlink.test]\n{address}\ninsecure = true\n'
        )
        start("superlink", "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", self.port)
        wait_until(lambda: is_listening(self.port), "the SuperLink's start")
        for site in SITES:
            self.join(site)

    def join(self, site):
        """Start the SuperNode of a site."""
        self.nodes[site] = self.start(
            site,
            "flower-supernode",
            "--insecure",
            "--superlink",
            f"127.0.0.1:{self.port}",
            "--port",
            free_port(),
            "--node-config",
            f'site-config="{self.current / "sites" / site / "site.toml"}"',
        )

    def serve(self, prepared):
        """Let sites and hub read other files; every message starts processes that read them anew."""
        self.current.unlink(missing_ok=True)
        self.current.symlink_to(prepared.hub_file.parent)
        self.prepared = prepared
        return self

    def begin(self, **config):
        """Begin a run; returns its id."""
        stated = {"hub-config": self.prepared.hub_file, **config}
        run_config = " ".join(f'{key}="{value}"' for key, value in stated.items())
        command = ["run", REPOSITORY, "test", "--run-config", run_config, "--format", "json"]
        done = subprocess.run(
            [BIN / "flwr", *map(str, command)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return int(json.loads(done.stdout)["run-id"])

    def finish(self, run_id, patience_s=PATIENCE_S):
        """Wait until a run has completed."""
        wait_until(lambda: self._status(run_id).status == "finished", "the end of the run", patience_s)
        assert self._status(run_id).sub_status == "completed"

    def _status(self, run_id):
        # What `flwr list` asks, without the seconds that it takes to start.
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/v1/control/list-runs",
            content=ListRunsRequest(run_id=run_id).SerializeToString(),
            headers={"content-type": "application/protobuf"},
        )
        return ListRunsResponse.FromString(answer.content).run_dict[run_id].status

    def fingerprint(self, job_id):
        """Run the fingerprint job and return its summary."""
        self.finish(self.begin(**{"job-id": job_id}))
        return Catalogue(self.prepared.catalogue).run_summary(job_id)


@pytest.fixture(scope="module")
def superlink(environment, start, folder):
    return Superlink(environment, start, folder)


def test_a_real_superlink_and_supernodes_fill_the_catalogue(tmp_path, superlink):
    trusts = ("open", "private", "listen")
    prepared = prepare(FederationConfig.read(write_small_federation(tmp_path, trusts=trusts)))
    summary = superlink.serve(prepared).fingerprint("job-1")
    catalogue = Catalogue(prepared.catalogue)
    assert summary["missing"] == []
    assert sorted(summary["accepted"]) == ["anna/digits", "bern/digits"]
    assert summary["listening"] == ["cork/digits"]
    values = matrix.read(catalogue, catalogue.latest_space(), "js").values
    assert values[0, 0] == pytest.approx(0, abs=1e-10)
    assert values[0, 1] > 0.001
    stated = {e.fingerprint.key: e.fingerprint.privacy for e in catalogue.entries(catalogue.latest_space())}
    assert stated["anna/digits"].is_exact
    assert 0.99 < stated["bern/digits"].eps <= 1
    bern = SiteState(prepared.site_files[1].parent)
    key = Identity.load_or_create("bern", bern.key_path).public_key
    checked = verify_ledger(LedgerFiles(bern.folder), key)
    assert (checked.findings, checked.n_entries, checked.n_releases) == ((), 2, 1)


COHORT = """
[privacy]
minimum_patients = 50
[[cohort]]
name = "all-of-us"
task = "digits"
sites = ["anna", "bern", "cork"]
eps = 1.0
delta = 1e-6
images_per_patient = 1
unit = "image"
"""


def test_a_cohort_sums_over_a_real_superlink(tmp_path, superlink):
    path = write_small_federation(tmp_path, trusts=("pooled",) * 3, extra=COHORT)
    prepared = prepare(FederationConfig.read(path))
    summary = superlink.serve(prepared).fingerprint("job-1")
    assert (summary["missing"], summary["accepted"]) == ([], ["all-of-us/digits"])
    catalogue = Catalogue(prepared.catalogue)
    (entry,) = catalogue.entries(catalogue.latest_space())
    stated = entry.fingerprint.privacy
    assert (stated.sites, stated.honest, entry.fingerprint.card.task) == (3, 2, "digits")
    assert 0.99 < stated.eps <= 1
    for site in prepared.site_files:
        state = SiteState(site.parent)
        key = Identity.load_or_create(site.parent.name, state.key_path).public_key
        checked = verify_ledger(LedgerFiles(state.folder), key)
        assert (checked.findings, checked.n_entries) == ((), 2)


def events(site, name):
    return [event for event in SiteState(site.parent).events() if event["event"] == name]


def test_transfer_experiments_survive_a_site_that_dies_on_a_real_superlink(tmp_path, superlink):
    # Every message starts a process that loads PyTorch, so that as few as possible are sent.
    plan = write_small_transfer(tmp_path, scenarios=("pretraining", "co_training"), slice_s=60)
    prepared = prepare_transfer(plan).prepared
    running = superlink.serve(prepared)
    run = running.begin(job="transfer", plan=plan)
    anna = prepared.site_files[0]
    wait_until(lambda: events(anna, BEGUN), "the source's first step")
    end(running.nodes["anna"])
    running.join("anna")
    running.finish(run, 3 * PATIENCE_S)
    catalogue = Catalogue(prepared.catalogue)
    found = Queue(catalogue, find_plan(catalogue).plan_id).findings()
    assert {(each.experiment.scenario, each.state, each.reason) for each in found} == {
        ("baseline", "done", ""),
        ("pretraining", "done", ""),
        ("co_training", "done", ""),
    }
    assert {each.scenario for each in catalogue.outcomes()} == {"pretraining", "co_training"}
    steps = [event["step"] for event in events(anna, BEGUN)]
    assert len(steps) == len(set(steps))
