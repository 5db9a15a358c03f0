"""A consortium of real processes on loopback: a hub and three sites, TLS, node authentication, tiny data.

It comes about by the commands that operators and hospitals use; what people type into files is written here.
"""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, chdir, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tomli_w
from hub_folders import free_ports, status_of
from rich.console import Console
from sklearn.datasets import load_digits
from small_federation import write_small_federation
from typer.testing import CliRunner

from aggregator.config import HubConfig
from aggregator.flower.control import Control
from aggregator.hub_folder import HubFolder
from aggregator.jobs.queue import JobQueue
from aggregator.store import Catalogue
from deploy.cli import app as command_line
from deploy.federation_file import FederationConfig
from deploy.progress_display import ProgressDisplay
from deploy.simulated_cohort import SimulatedCohort, memberships
from deploy.simulation import open_space
from deploy.site_policy import PrivacyConfig, TransferGrant, policy_text
from federation.errors import FedprintError
from federation.identity import Identity
from federation.space import Space
from site_agent.approval import approve
from site_agent.config import SiteConfig
from site_agent.flower.link_status import read_link
from site_agent.ledger.chain import read_chain
from site_agent.ledger.storage import LedgerFiles
from site_agent.ledger.verify import verify_ledger
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState

SITES = ("anna", "bern", "cork")
PATIENCE_S = float(os.environ.get("PATIENCE_S", "240"))
FEDPRINT = [sys.executable, "-c", "from deploy.cli import main; main()"]
IMAGES = 60
PRIVACY = PrivacyConfig(eps=1000.0, release_eps=1.0)


@dataclass(frozen=True)
class Task:
    """A task of a case, the same at several sites.

    Args:
        name: Its name.
        trust: Trust mode.
        sites: Who has it.
        seed: Its images; those of an unused seed have never been sketched. None: those all cases share.
        images: How many images every site has.
    """

    name: str
    trust: str
    sites: tuple[str, ...]
    seed: int | None = None
    images: int = IMAGES


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S):
    """Return what the condition returns as soon as it is true."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {patience_s:g} s")


def command(*arguments: object) -> str:
    """Run a short command of fedprint in this process and return what it printed."""
    done = CliRunner().invoke(command_line, [str(argument) for argument in arguments])
    assert done.exit_code == 0, f"{arguments}: {done.output} {done.exception!r}"
    return done.output


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a process and everything that descends from it, as a power cut does."""
    for pid in (process.pid, *descendants(process.pid)):
        kill(pid)
    process.wait()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process began, those that these began, and so on."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found[1:]


def kill(pid: int | None) -> bool:
    """Kill one process; False: it has ended already."""
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def processes(*said: bytes) -> list[int]:
    """Return the processes whose command line holds all of it, oldest first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes()
            if all(part in line for part in said):
                found.append(int(path.parent.name))
    return sorted(found)


class Place:
    """The folder of one site, and its processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = SiteFolder(folder), folder.name
        self.process: subprocess.Popen | None = None

    @property
    def state(self) -> SiteState:
        return SiteState(self.folder.state)

    @property
    def identity(self) -> Identity:
        return Identity.load(self.name, self.state.key_path)

    def pid(self, program: str) -> int | None:
        """Return the process of a program of ``site serve``."""
        return status_of(self.folder)["programs"].get(program, {}).get("pid")

    def working(self) -> list[int]:
        """Return the ClientApps that run."""
        return processes(b"site_agent.flower.clientapp_guard\0" + os.fsencode(self.folder.path) + b"\0")

    def is_connected(self) -> bool:
        return read_link(self.folder.link_status, time.time()).connected

    def events(self, name: str) -> list[dict]:
        return [event for event in self.state.events() if event["event"] == name]

    def charges(self, task: str) -> list:
        """Return what the ledger says a task was charged; the ledger is whole."""
        files = LedgerFiles(self.folder.state)
        if not files.ledger.exists():
            return []
        assert verify_ledger(files, self.identity.public_key).findings == ()
        entries = read_chain(files, self.identity.public_key).entries
        return [entry.charge for entry in entries if entry.charge and entry.charge.task == task]


class Consortium:
    """Hub and sites in one folder.

    Args:
        folder: Where everything is.
        running: Ends the processes.
        sites: Names of the sites.
        database: URL of the catalogue; SQLite unless given.
    """

    def __init__(
        self,
        folder: Path,
        running: ExitStack,
        *,
        sites: Sequence[str] = SITES,
        database: str = "",
    ) -> None:
        self.path, self.running = folder, running
        self.hub = HubFolder(folder / "hub")
        self.process: subprocess.Popen | None = None
        self._prepare_network()
        self._found(database)
        self.sites = {name: self.enrol(name) for name in sites}

    # How it comes about.

    def _prepare_network(self) -> None:
        data = self.path / "data"
        data.mkdir(parents=True)
        config = FederationConfig.read(write_small_federation(data))
        open_space(config.space, data / "space.safetensors", ProgressDisplay(Console(quiet=True)))
        self.space = Space.from_bytes((data / "space.safetensors").read_bytes())
        self._weights = {"source": str(data / "weights.safetensors"), "sha256": config.space.weights_sha256}

    def _found(self, database: str) -> None:
        place = ("--database", database) if database else ()
        space = self.path / "data" / "space.safetensors"
        address = f"127.0.0.1:{free_ports(1)[0]}"
        command(
            "hub", "init", self.hub.path, "--name", "Trial", "--address", address, "--space", space, *place
        )
        operator_port, metrics_port = free_ports(2)

        def change(said):
            said["serve"].update(operator_port=operator_port, metrics_port=metrics_port)
            said.update(distance="js", timeout_s=120.0, samples="all")

        self.rewrite(self.hub.config, change)

    def enrol(self, name: str) -> Place:
        """Invite a site, let it answer, compare the number, and give it its membership."""
        invitation, place = self.path / f"{name}.invitation.json", Place(self.path / name)
        command("hub", "invite", name, "--folder", self.hub.path, "--output", invitation)
        said = command("site", "init", invitation, "--folder", place.folder.path, "--yes")
        number = re.search(r"(\d{5} ){5}\d{5}", said)[0]
        enrolment = place.folder.enrolment(name)
        with chdir(self.path):  # where the command leaves the membership
            command("hub", "approve", enrolment, "--fingerprint", number, "--yes", "--folder", self.hub.path)
        self.accept(place)
        runtime_port, metrics_port = free_ports(2)

        def change(said):
            said["serve"] = {"runtime_port": runtime_port, "metrics_port": metrics_port}
            said.update(weights=self._weights, acceleration="off", trust="listen")

        self.rewrite(place.folder.config, change)
        return place

    def accept(self, place: Place) -> None:
        """Hand a site its membership."""
        membership = self.hub.members / f"{place.name}.json"
        command("site", "accept", membership, "--folder", place.folder.path)

    def lead(self, name: str, port: int) -> None:
        """Let a site reach the hub by another port, once its processes start."""
        address = f"127.0.0.1:{port}"
        self.rewrite(self.sites[name].folder.config, lambda said: said["hub"].update(address=address))

    @staticmethod
    def rewrite(path: Path, change) -> None:
        said = tomllib.loads(path.read_text())
        change(said)
        path.write_text(tomli_w.dumps(said))

    def configure_hub(self, **changes: object) -> None:
        """Change the hub file, from the next job on."""
        said = tomllib.loads(self.hub.config.read_text()) | changes
        write_whole(self.hub.config, tomli_w.dumps(said))

    # What it works on.

    def offer(self, *tasks: Task, transfer: bool = False) -> None:
        """Let sites have these tasks and no others, from the next message on."""
        cohorts = [cohort_of(task) for task in tasks if task.trust == "pooled"]
        keys = {name: place.identity.public_key for name, place in self.sites.items()}
        grant = TransferGrant(model_sources=keys) if transfer else None
        for name, place in self.sites.items():
            config = self._write_tasks(place, [task for task in tasks if name in task.sites])
            pooled = memberships(cohorts, name, keys)
            text = policy_text(config, PRIVACY, self.space, self.key.public_key, pooled, grant)
            write_whole(place.folder.policy, text)
            for dataset in config.dataset:
                if config.mode(dataset).value in ("private", "pooled"):
                    approve(place.state, dataset.private_card())
        at_hub = [cohort.at_hub.model_dump(mode="json", exclude_none=True) for cohort in cohorts]
        self.configure_hub(cohort=at_hub)

    def _write_tasks(self, place: Place, tasks: list[Task]) -> SiteConfig:
        said = tomllib.loads(place.folder.config.read_text())
        none = Task("nothing", "listen", (place.name,))
        said["dataset"] = [self._dataset(place.name, task) for task in tasks or [none]]
        write_whole(place.folder.config, tomli_w.dumps(said))
        return SiteConfig.read(place.folder.config)

    def _dataset(self, site: str, task: Task) -> dict[str, str]:
        file = str(self._images(site, task.seed, task.images))
        return {"format": "npz", "task": task.name, "trust": task.trust, "modality": "scan", "file": file}

    def _images(self, site: str, seed: int | None, n: int) -> Path:
        path = self.path / "data" / f"{site}-{'shared' if seed is None else seed}.npz"
        if not path.exists():
            digits, k = load_digits(), SITES.index(site) if site in SITES else 3
            part = slice(k * n, (k + 1) * n)
            images = (digits.images[part] * 15).astype(np.uint8)
            if seed is not None:
                images = images + np.random.default_rng([seed, k]).integers(0, 16, images.shape, np.uint8)
            np.savez(path, images=255 - images if k == 1 else images, labels=digits.target[part])
        return path

    @property
    def key(self) -> Identity:
        return Identity.load("Trial", self.hub.key)

    # Its processes.

    def serve(self) -> None:
        """Start the hub and all sites, and wait until they are connected."""
        self.serve_hub()
        for name in self.sites:
            self.serve_site(name)
        self.wait_for_sites()

    def stop(self) -> None:
        """End all processes."""
        for process in (self.process, *(place.process for place in self.sites.values())):
            if process is not None:
                kill_tree(process)

    def serve_hub(self) -> None:
        """Start ``fedprint hub serve``."""
        self.process = self.start(self.hub.path / "serve.log", "hub", "serve", self.hub.path)

    def serve_site(self, name: str) -> None:
        """Start ``fedprint site serve``."""
        place = self.sites[name]
        place.process = self.start(place.folder.path / "serve.log", "site", "serve", place.folder.path)

    def wait_for_sites(self, *names: str) -> None:
        """Wait until sites are connected and the hub knows it."""
        wanted = set(names or self.sites)
        wait_until(
            lambda: wanted <= {name for name, how in (self.nodes() or {}).items() if how == "online"},
            f"the connection of {sorted(wanted)}{self.tails()}",
        )

    def start(self, log: Path, *arguments: object) -> subprocess.Popen:
        with log.open("ab") as file:
            process = subprocess.Popen(
                [*FEDPRINT, *map(str, arguments)],
                env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.running.callback(kill_tree, process)
        return process

    def pid(self, program: str) -> int | None:
        """Return the process of a program of ``hub serve``."""
        return status_of(self.hub)["programs"].get(program, {}).get("pid")

    def aggregators(self) -> list[int]:
        """Return the processes that run a job."""
        port = str(HubConfig.read(self.hub.config).serve.operator_port)
        return processes(b"flwr-serverapp", port.encode())

    def nodes(self) -> dict[str, str] | None:
        """Site → status of its node; None: the SuperLink does not answer."""
        try:
            with Control.of(self.hub, HubConfig.read(self.hub.config).serve) as control:
                return {node.name: node.status for node in control.nodes()}
        except FedprintError:
            return None

    def repair(self) -> None:
        """Let everything run again, and every job come to its end, whatever happened before."""
        if self.process is None or self.process.poll() is not None:
            self.serve_hub()
        for name, place in self.sites.items():
            if place.process is None or place.process.poll() is not None:
                self.serve_site(name)
        self.wait_for_sites()
        with self.catalogue() as catalogue:
            open_jobs = [job.job_id for job in JobQueue(catalogue).list() if job.is_open]
        for job_id in open_jobs:
            self.ended(job_id)

    # Its jobs.

    def ask(self, kind: str = "fingerprint", **arguments: str) -> str:
        """Put a job into the queue and return its id."""
        with self.catalogue() as catalogue:
            return JobQueue(catalogue).ask(kind, arguments).job_id

    def job(self, job_id: str):
        with self.catalogue() as catalogue:
            return JobQueue(catalogue).get(job_id)

    def ended(self, job_id: str):
        """Wait for the end of a job and return it."""
        try:
            wait_until(lambda: not self.job(job_id).is_open, "the end of the job")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.job(job_id)}{self.tails()}") from None
        return self.job(job_id)

    def summary(self, job_id: str) -> dict:
        with self.catalogue() as catalogue:
            return catalogue.run_summary(job_id)

    def catalogue(self) -> "Closing":
        return Closing(HubConfig.read(self.hub.config).catalogue)

    def tails(self) -> str:
        """Return the ends of all logs."""
        logs = [*self.path.glob("*/serve.log"), *self.path.glob("*/logs/*.log")]
        return "".join(
            f"\n== {path.relative_to(self.path)}\n" + "\n".join(path.read_text().splitlines()[-4:])
            for path in logs
        )


class Closing:
    """A catalogue that is closed again."""

    def __init__(self, place) -> None:
        self._place = place

    def __enter__(self) -> Catalogue:
        self._open = Catalogue(self._place)
        return self._open

    def __exit__(self, *_: object) -> None:
        self._open.close()


def cohort_of(task: Task) -> SimulatedCohort:
    """Return the cohort that pools a task."""
    return SimulatedCohort(
        name=f"all-{task.name}",
        task=task.name,
        sites=task.sites,
        eps=1.0,
        delta=1e-6,
        images_per_patient=1,
        unit="image",
        step_timeout_s=60.0,
    )


def write_whole(path: Path, text: str) -> None:
    """Replace a file that others read at any time."""
    half = path.with_suffix(".half")
    half.write_text(text)
    half.replace(path)
