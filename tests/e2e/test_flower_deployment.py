"""The same apps as in a simulation, on a real SuperLink and real SuperNodes over loopback."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import httpx
import pytest
from flwr.proto.control_pb2 import ListRunsRequest, ListRunsResponse
from small_federation import SITES, write_small_federation
from small_transfer import write_small_transfer

from aggregator import matrix
from aggregator.config import HubConfig
from aggregator.jobs.queue import JobQueue
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
PATIENCE_S = 300


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
        self.database = folder / "state.db"
        home = Path(environment["FLWR_HOME"])
        home.mkdir()
        address = f'address = "127.0.0.1:{self.port}"'
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "test"\n[superlink.test]\n{address}\ninsecure = true\n'
        )
        address = ("--host", "127.0.0.1", "--port", self.port)
        start("superlink", "flower-superlink", "--insecure", *address, "--database", self.database)
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

    def finish(self, run_id, patience_s=PATIENCE_S, status_of_end="completed"):
        """Wait until a run has ended as it should."""
        wait_until(lambda: self._status(run_id).status == "finished", "the end of the run", patience_s)
        assert self._status(run_id).sub_status == status_of_end

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
    for site in prepared.site_files:
        (witnessed,) = events(site, "log-witnessed")
        assert witnessed["job"] == "job-1"
    stated = {e.fingerprint.key: e.fingerprint.privacy for e in catalogue.entries(catalogue.latest_space())}
    assert stated["anna/digits"].is_exact
    assert 0.99 < stated["bern/digits"].eps <= 1
    bern = SiteState(prepared.site_files[1].parent)
    key = Identity.load_or_create("bern", bern.key_path).public_key
    checked = verify_ledger(LedgerFiles(bern.folder), key)
    assert (checked.findings, checked.n_entries, checked.n_releases) == ((), 2, 1)


SECRET_WORDS = ("okapi-scans", "tapir-scans", "quagga", "axolotl", "pangolin")
"""Names of tasks, a title, a keyword, and the task of a plan that cannot be carried out."""


def write_secrets(folder):
    """Write a federation whose tasks and keywords are known by sight, and a plan that names another task."""
    path = write_small_federation(folder, trusts=("open", "open", "listen"))
    described = 'task = "okapi-scans"\ntitle = "Quagga quagga"\nkeywords = ["axolotl"]'
    text = path.read_text().replace('task = "digits"', described, 1)
    path.write_text(text.replace('task = "digits"', 'task = "tapir-scans"', 1))
    (folder / "plan.toml").write_text(
        'name = "small"\nfederation = "federation.toml"\nscenarios = ["pretraining"]\n'
        'targets = ["nobody/pangolin"]\nsources = ["anna/okapi-scans"]\nn_train = 40\n'
        '[network]\nname = "test_resnet"\nimage_size = 32\nstart = "scratch"\n'
    )
    return prepare(FederationConfig.read(path))


def kept_by_flower(database):
    """Every byte of Flower's database, also of deleted rows, and every cell of those that are not."""
    files = [path for path in database.parent.iterdir() if path.name.startswith(database.name)]
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        cells = [
            cell if isinstance(cell, bytes) else str(cell).encode()
            for table in tables
            for row in connection.execute(f"SELECT * FROM {table}")
            for cell in row
        ]
    return b"\0".join([*(path.read_bytes() for path in files), *cells])


def pieces(data, length=32):
    """Pieces of what must not be there, short enough to lie within a page of the database."""
    return {data[start : start + length] for start in range(0, len(data) - length, len(data) // 16)}


def test_nothing_readable_stays_in_flowers_database(tmp_path, superlink):
    prepared = write_secrets(tmp_path)
    (tmp_path / "bern.npz").write_bytes(b"no pictures")  # an error whose text must stay where it is
    running = superlink.serve(prepared)
    queue = JobQueue(Catalogue(prepared.catalogue, create=True))
    for job, status, config in (
        ("fingerprint", "completed", {}),
        ("transfer", "failed", {"job": "transfer", "plan": tmp_path / "plan.toml"}),
    ):
        queue.ask(job, {}, job)
        running.finish(running.begin(**{"job-id": job, **config}), status_of_end=status)
    catalogue = Catalogue(prepared.catalogue)
    (entry,) = catalogue.entries(catalogue.latest_space())
    assert entry.fingerprint.key == "anna/okapi-scans"
    assert "pangolin" in queue.get("transfer").reason
    kept = kept_by_flower(running.database)
    assert b"query.fingerprint" in kept
    assert b"fedprint.sealed" in kept  # what is under seal is there, and is all that there is
    assert [word for word in SECRET_WORDS if word.encode() in kept.lower()] == []
    fingerprint, space = (
        catalogue.content(entry.seq),
        (prepared.catalogue.parent / "space.safetensors").read_bytes(),
    )
    counts = entry.fingerprint.histogram.counts.tobytes()
    for secret in (fingerprint, counts, space):
        assert not [piece for piece in pieces(secret) if piece in kept and len(set(piece)) > 4]
    hub = HubConfig.read(prepared.hub_file)
    for key in (*hub.roster.values(), Identity.load_or_create(hub.consortium, hub.key).public_key):
        assert key.encode() not in kept
        assert bytes.fromhex(key) not in kept


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
