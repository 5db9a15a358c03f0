"""A hub that is served by real processes, and sites that connect to it, for tests on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import tomli_w
from hub_folders import free_ports, serve_table, status_of, write_tls

from aggregator.config import HubConfig
from aggregator.flower.control import Control
from aggregator.hub_folder import HubFolder
from aggregator.jobs.queue import JobQueue
from aggregator.store import Catalogue
from federation.app_bundle import bundle_bytes
from federation.canonical import sha256_hex
from federation.errors import FedprintError
from federation.files import write_atomically
from federation.identity import Identity
from federation.membership import Membership, Revocation
from federation.node_key import new_node_key, public_text, read_node_key
from site_agent.site_folder import SiteFolder

PATIENCE_S = 240
BIN = Path(sys.executable).parent
DAY = 86_400
FEDPRINT = [sys.executable, "-c", "from deploy.cli import main; main()"]


def wait_until(condition, what, patience_s=PATIENCE_S):
    """Wait for a condition; fail the test if it does not come to hold."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        if condition():
            return
        time.sleep(0.1)
    said = what if isinstance(what, str) else what()
    pytest.fail(f"this did not happen within {patience_s} s: {said}")


class ServedHub:
    """A hub folder made from the hub file of a simulation, and its processes."""

    def __init__(self, prepared, running: ExitStack):
        self.prepared, self.running = prepared, running
        self.folder = HubFolder(prepared.hub_file.parent)
        self.said = tomllib.loads(prepared.hub_file.read_text())
        self.identity = Identity.load(self.said["consortium"], self.folder.path / self.said["key"])
        self.node_keys = {}
        self._write_folder()

    def _write_folder(self):
        sites = {entry["name"]: entry["public_key"] for entry in self.said.pop("site")}
        kept = {key: value for key, value in self.said.items() if key not in ("serve", "members")}
        text = 'members = "members"\n' + tomli_w.dumps(kept) + serve_table(*free_ports(3))
        self.folder.config.write_text(text)
        write_tls(self.folder)
        for name, key in sites.items():
            self.admit(name, key)
        self.serve_config = HubConfig.read(self.folder.config).serve

    def admit(self, site, identity_key):
        """Make a node key of a site and its membership."""
        private = new_node_key()
        self.node_keys[site] = private
        node_key, now = public_text(read_node_key(private)), int(time.time())
        member = Membership(
            site, self.identity.name, identity_key, node_key, 1, now - DAY, now + 100 * DAY
        ).signed(self.identity)
        write_atomically(self.folder.members / f"{site}.json", member.to_bytes())

    def revoke(self, site):
        """End a site's membership."""
        over = Revocation(site, self.identity.name, 1, int(time.time()), "left").signed(self.identity)
        write_atomically(self.folder.members / "revoked" / f"{site}.json", over.to_bytes())

    def serve(self):
        """Start ``fedprint hub serve``, and wait until the SuperLink answers."""
        self.process = self._start("hub", [*FEDPRINT, "hub", "serve", str(self.folder.path)])
        wait_until(lambda: self.nodes() is not None, "the start of the hub")
        return self

    def join(self, site):
        """Start ``fedprint site serve`` at a site that has approved the hub's bundle."""
        file = next(path for path in self.prepared.site_files if path.parent.name == site)
        folder = SiteFolder(file.parent)
        if not folder.ca_certificate.exists():
            self._make_servable(folder, site)
        wait_until(lambda: site in (self.nodes() or {}), f"the registration of {site}")
        return self._start(site, [*FEDPRINT, "site", "serve", folder.path])

    def _make_servable(self, folder, site):
        """Do to the folder of a simulated site what ``fedprint site init`` and ``site approve`` do."""
        write_atomically(folder.ca_certificate, self.folder.ca_certificate.read_bytes())
        write_atomically(folder.node_key, self.node_keys[site])
        bundle = bundle_bytes()
        write_atomically(folder.approved_bundles / f"{sha256_hex(bundle)}.fab", bundle)
        runtime, metrics = free_ports(2)
        said = tomllib.loads(folder.config.read_text())
        said["serve"] = {"runtime_port": runtime, "metrics_port": metrics}
        said["hub"] = {
            "address": self.serve_config.address,
            "consortium": self.identity.name,
            "public_key": self.identity.public_key,
        }
        folder.config.write_text(tomli_w.dumps(said))

    def _start(self, name, command):
        environment = os.environ | {
            "FLWR_HOME": str(self.folder.path / f"flwr-{name}"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        log = self.running.enter_context((self.folder.path / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            list(map(str, command)), env=environment, stdout=log, stderr=log, start_new_session=True
        )
        self.running.callback(end, process)
        return process

    def nodes(self):
        """Site → status of its node; None: the SuperLink does not answer."""
        try:
            with Control.of(self.folder, self.serve_config) as control:
                return {node.name: node.status for node in control.nodes()}
        except FedprintError:
            return None

    def online(self, *sites):
        """Wait until the nodes of sites are online."""
        wait_until(
            lambda: all((self.nodes() or {}).get(site) == "online" for site in sites),
            lambda: f"sites {sites} are online{self.tails()}",
        )

    def command(self, *arguments, check=True):
        """Run ``fedprint hub …`` on the folder."""
        done = subprocess.run(
            [*FEDPRINT, "hub", *map(str, arguments), "--folder", str(self.folder.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr + self.tails()
        return done

    def ask(self, *arguments):
        """Put a job into the queue and return its id."""
        return json.loads(self.command("run", *arguments, "--no-wait", "--json").stdout)["job"]

    def job(self, job_id):
        """Return a job of the queue."""
        catalogue = Catalogue(self.prepared.catalogue)
        try:
            return JobQueue(catalogue).get(job_id)
        finally:
            catalogue.close()

    def pid_of(self, program):
        """Return the process id of one of the hub's processes."""
        return status_of(self.folder)["programs"].get(program, {}).get("pid")

    def aggregator_pids(self):
        """Return the processes that run a job."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                said = path.read_bytes()
                if b"flwr-serverapp" in said and str(self.serve_config.operator_port).encode() in said:
                    found.append(int(path.parent.name))
        return found

    def tails(self):
        """Return the ends of all logs."""
        logs = [*self.folder.logs.glob("*.log"), *self.folder.path.glob("*.log")]
        logs += [log for file in self.prepared.site_files for log in file.parent.glob("logs/*.log")]
        return "".join(
            f"\n== {path.name}\n" + "\n".join(path.read_text().splitlines()[-15:]) for path in logs
        )


def end(process):
    """Kill a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
