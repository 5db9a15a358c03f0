"""`fedprint site serve` as a process, on a real SuperLink with TLS and node authentication."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from flower_hub import SITE_APP, Hub, environment, free_port, kill_group, wait_until
from served_site import Authority, public_node_key, write_site
from tcp_proxy import TcpProxy
from typer.testing import CliRunner

from deploy.cli import app as command_line
from federation.files import write_atomically
from site_agent.bundles import Bundles
from site_agent.flower.link_status import read_link
from site_agent.state import SiteState

INVALID_FAB, CRASHED = 7, 8


class ServedSite:
    """A site and its `fedprint site serve`."""

    def __init__(self, folder, home):
        self.folder, self._home = folder, home
        self.bundles = Bundles(folder, SiteState(folder.state))
        self.start()

    def start(self):
        command = [sys.executable, "-c", "from deploy.cli import main; main()", "site", "serve"]
        with (self.folder.path / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, self.folder.path],
                env=environment(self._home) | {"SECRET_OF_THE_SERVICE": "x"},
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def pid(self, name):
        with suppress(OSError, ValueError, KeyError):
            return json.loads(self.folder.supervisor_status.read_bytes())["programs"][name]["pid"]
        return None

    @property
    def link(self):
        return read_link(self.folder.link_status, time.time())

    def kill(self, name):
        """Kill a process and wait until another one runs in its place."""
        old = wait_until(lambda: self.pid(name), f"the start of {name}")
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.pid(name) not in (None, old), f"another {name}")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    running = Hub(tmp_path_factory.mktemp("hub"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def cable(hub):
    """Return what connects the site to the hub."""
    cable = TcpProxy(hub.port)
    yield cable
    cable.close()


@pytest.fixture(scope="module")
def site(hub, cable, tmp_path_factory):
    path = tmp_path_factory.mktemp("site")
    folder = write_site(path / "site", hub.authority, f"127.0.0.1:{cable.port}", free_port(), free_port())
    hub.register(public_node_key(folder.node_key))
    served = ServedSite(folder, path / "flower")
    wait_until(lambda: served.link.connected, "the connection")
    yield served
    kill_group(served.process)


@pytest.fixture(scope="module")
def orders(hub, site):
    """Return a run whose bundle the site has approved."""
    begun = hub.begin("approved")
    reply = begun.answer(begun.send("echo", text="too early"))
    assert reply == {"error": INVALID_FAB, "reason": "bundle-not-approved"}
    approve(site, "--yes")
    yield begun
    begun.stop()


def approve(site, *arguments):
    done = CliRunner().invoke(command_line, ["site", "approve", str(site.folder.path), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def pid_in(path):
    return wait_until(lambda: path.exists() and path.read_text(), "the ClientApp's start")


def is_alive(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_bundle_runs_as_soon_as_it_is_approved(orders, site):
    reply = orders.ask("echo", text="hello")
    assert reply == {"text": "hello", "config": str(site.folder.config)}
    assert site.bundles.waiting() == []


def test_another_bundle_is_refused_and_waits(hub, orders, site):
    other = hub.begin("other", f"# anything else\n{SITE_APP}")
    reply = other.ask("echo", text="hello")
    other.stop()
    assert reply == {"error": INVALID_FAB, "reason": "bundle-not-approved"}
    (waiting,) = site.bundles.waiting()
    wait_until(lambda: site.link.waiting_bundles == 1, "the status that says so")
    shown = CliRunner().invoke(command_line, ["site", "approve", str(site.folder.path)], input="n\n")
    assert shown.exit_code == 1
    assert waiting.digest in shown.output
    assert "+# anything else" in shown.output
    assert orders.ask("echo", text="goes on")["text"] == "goes on"


def test_the_text_of_an_exception_stays_at_the_site(orders, site):
    assert orders.ask("fail") == {"error": 2, "reason": "internal"}
    assert "Miller" in (site.folder.logs / "superexec.log").read_text()


def test_a_clientapp_gets_little_of_the_environment(orders):
    names = orders.ask("environment")["names"]
    assert "SECRET_OF_THE_SERVICE" not in names
    assert "FLWR_HOME" in names


@pytest.mark.parametrize("name", ["supernode", "superexec"])
def test_a_process_that_is_killed_comes_back(orders, site, name):
    site.kill(name)
    assert orders.ask("echo", text="still here")["text"] == "still here"


@pytest.mark.parametrize("name", ["supernode", "superexec", "clientapp"])
def test_a_message_whose_process_is_killed_gets_an_answer(orders, site, tmp_path, name):
    reply = orders.send("hang", pid=str(tmp_path / "pid"))
    working = int(pid_in(tmp_path / "pid"))
    if name == "clientapp":
        os.kill(working, signal.SIGKILL)
    else:
        site.kill(name)
    assert orders.answer(reply) == {"error": CRASHED, "reason": "crashed"}
    assert orders.ask("echo", text="next")["text"] == "next"
    wait_until(lambda: not is_alive(working), "the end of the ClientApp")


def test_an_answer_survives_a_cut_of_the_connection(orders, site, cable, tmp_path):
    begun, enough = tmp_path / "begun", tmp_path / "enough"
    reply = orders.send("nap", begun=str(begun), enough=str(enough))
    wait_until(begun.exists, "the ClientApp's start")
    cable.cut()
    enough.touch()
    wait_until(lambda: not site.link.connected, "the loss")
    told = site.link.last_error
    cable.mend()
    assert "→" in told  # what a cut looks like depends on where in a connection it falls
    assert orders.answer(reply) == {"text": "slept"}
    assert site.link.connected


def test_a_revoked_bundle_no_longer_runs(orders, site):
    (approved,) = site.bundles.approved()
    kept = site.bundles.read(approved.digest)
    approve(site, "--revoke", approved.digest[:12])
    assert orders.ask("echo", text="late")["error"] == INVALID_FAB
    site.bundles.approve(kept)
    assert orders.ask("echo", text="again")["text"] == "again"


def test_an_approved_bundle_that_was_altered_does_not_run(orders, site):
    (approved,) = site.bundles.approved()
    path = site.folder.approved_bundles / f"{approved.digest}.fab"
    kept = path.read_bytes()
    path.write_bytes(kept + b"more")
    assert orders.ask("echo", text="altered")["error"] == INVALID_FAB
    path.write_bytes(kept)
    assert orders.ask("echo", text="restored")["text"] == "restored"


def test_a_site_is_served_once(site):
    done = CliRunner().invoke(command_line, ["site", "serve", str(site.folder.path)])
    assert done.exit_code != 0
    assert "served already" in str(done.exception)


def test_the_runtime_listens_on_loopback_alone(site):
    port = f"{json_port(site):04X}"
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [each for each in listening if each.endswith(f":{port}")][:1] == [f"0100007F:{port}"]
    assert not any(each.endswith(f":{port}") for each in tcp6())


def test_an_end_of_the_service_ends_everything(site, orders):
    pids = [wait_until(lambda name=name: site.pid(name), name) for name in ("supernode", "superexec")]
    site.process.terminate()
    assert site.process.wait(30) == 0
    assert not any(is_alive(pid) for pid in pids)
    site.start()
    assert orders.ask("echo", text="back")["text"] == "back"


@pytest.fixture
def plain_server():
    """A web server without TLS."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def told_by_node(tmp_path):
    """Return what the status of a site says that cannot connect."""
    running = []

    def told(authority, address):
        folder = write_site(tmp_path / "site", authority, address, free_port(), free_port())
        write_atomically(folder.superexec_secret, b"secret")
        command = [sys.executable, "-m", "site_agent.flower.supernode_guard", folder.path]
        running.append(subprocess.Popen(command, env=environment(tmp_path / "home"), start_new_session=True))
        link = wait_until(lambda: folder.link_status.exists() and read_link(folder.link_status, 0), "status")
        assert not link.connected
        return link.last_error

    yield told
    for process in running:
        assert process.poll() is None  # it never gives up
        kill_group(process)


def test_a_server_without_tls_is_told(told_by_node, hub, plain_server):
    assert "does not speak TLS → check host and port" in told_by_node(hub.authority, plain_server)


def test_a_hub_of_another_authority_is_told(told_by_node, hub):
    assert "the consortium's authority did not sign" in told_by_node(Authority.make(), hub.address)


def test_a_key_that_the_hub_does_not_know_is_told(told_by_node, hub):
    assert "does not accept this site's node key" in told_by_node(hub.authority, hub.address)


def test_a_hub_that_is_down_is_told(told_by_node, hub):
    assert "nothing listens at" in told_by_node(hub.authority, f"127.0.0.1:{free_port()}")


def json_port(site):
    from site_agent.config import SiteConfig

    return SiteConfig.read(site.folder.config).serve.runtime_port


def tcp6():
    return [line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
