import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from hub_folders import free_ports, write_hub
from memberships import NODE_KEY

from aggregator.config import HubConfig
from aggregator.flower.control import Control
from aggregator.flower.operator_proof import proof
from federation.app_bundle import build_bundle, bundle_bytes
from federation.config_file import read_config
from federation.errors import DeploymentError
from federation.node_key import pem_of_public_text
from federation.supervisor import EX_CONFIG

PATIENCE_S = 90
TOKEN = "f" * 64
CLOSED = (
    "/v1/control/start-run",
    "/v1/control/list-runs",
    "/v1/runtime/acquire-task",
    "/docs",
    "/openapi.json",
)


def environment(folder):
    return os.environ | {"FLWR_HOME": str(folder.flower / "home"), "FLWR_TELEMETRY_ENABLED": "0"}


def started(folder, **more):
    command = [sys.executable, "-m", "aggregator.flower.superlink_guard", str(folder.path)]
    log = (folder.path / "superlink.log").open("ab")
    with log:
        return subprocess.Popen(command, env=environment(folder) | more, stdout=log, stderr=log)


def refusal(folder, **more):
    process = started(folder, **more)
    assert process.wait(PATIENCE_S) == EX_CONFIG
    return (folder.path / "superlink.log").read_text()


class Link:
    """A running SuperLink and requests to it."""

    def __init__(self, folder):
        self.folder, self.serve = folder, read_config(folder.config, HubConfig).serve
        self.process = started(folder)
        self.tls = ssl.create_default_context(cafile=str(folder.ca_certificate))

    def public(self, path, method="POST", **headers):
        return self._ask(f"https://127.0.0.1:{self.serve.port}{path}", method, headers, self.tls)

    def operator(self, path, method="POST", **headers):
        return self._ask(f"http://127.0.0.1:{self.serve.operator_port}{path}", method, headers, None)

    def wait(self):
        limit = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                if (self.public("/health", "GET"), self.operator("/health", "GET")) == (200, 200):
                    return self
            except OSError:
                time.sleep(0.2)
        pytest.fail((self.folder.path / "superlink.log").read_text())

    @staticmethod
    def _ask(url, method, headers, tls):
        request = urllib.request.Request(
            url,
            b"" if method == "POST" else None,
            {k.replace("_", "-"): v for k, v in headers.items()},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, context=tls, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    running = Link(write_hub(tmp_path_factory.mktemp("hub")))
    yield running.wait()
    running.process.kill()
    running.process.wait()


@pytest.fixture
def control(link):
    with Control.of(link.folder, link.serve) as client:
        yield client


@pytest.mark.parametrize(
    "path", [*CLOSED, "/", "/v1/fleet/", "/v1/fleet/../control/list-runs", "/v1/Control/x"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_public_port_serves_sites_and_nobody_else_also_from_loopback(link, path, method):
    assert link.public(path, method) == 403


def test_the_public_port_does_not_open_to_who_shows_the_operators_token(link):
    token = link.folder.operator_token.read_text()
    assert link.public("/v1/control/list-runs", Authorization=f"Bearer {token}") == 403


def test_a_proxy_that_claims_to_be_local_changes_nothing(link):
    claim = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"}
    assert link.public("/v1/control/list-runs", **claim) == 403


@pytest.mark.parametrize("host", ["a/v1/x?", "127.0.0.1/health?", "a b", "user@host", "x#y"])
def test_a_host_header_that_hides_the_path_is_refused(link, host):
    assert link.public("/v1/fleet/pull-messages", Host=host) == 403


def endpoints(group):
    """Every endpoint of a group that Flower has."""
    return [path for _, path in PROTOBUF_REQUEST_TYPES if path.startswith(f"/v1/{group}/")]


def test_every_fleet_endpoint_needs_the_key_of_a_node(link):
    asked = {path: link.public(path, content_type=PROTOBUF_MEDIA_TYPE) for path in endpoints("fleet")}
    assert len(asked) >= 12
    assert set(asked.values()) == {401}, asked


def test_nothing_is_read_of_the_body_of_a_stranger(link):
    """A stranger announces a body that is allowed, and is refused before sending any of it."""
    with socket.create_connection(("127.0.0.1", link.serve.port), 30) as plain:
        connection = link.tls.wrap_socket(plain, server_hostname="127.0.0.1")
        connection.sendall(
            b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: hub\r\n"
            b"Content-Type: application/protobuf\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")


def test_every_control_endpoint_needs_the_operators_token(link):
    asked = {path: link.operator(path, content_type=PROTOBUF_MEDIA_TYPE) for path in endpoints("control")}
    assert len(asked) >= 40
    assert set(asked.values()) == {401}, asked


def test_every_runtime_endpoint_needs_a_secret(link):
    asked = {path: link.operator(path, content_type=PROTOBUF_MEDIA_TYPE) for path in endpoints("runtime")}
    assert len(asked) >= 20
    assert set(asked.values()) <= {401, 403}, asked


def test_the_operators_port_asks_for_its_token(link):
    for path in ("/v1/control/start-run", "/v1/control/list-nodes", "/docs", "/openapi.json", "/v1/controlx"):
        assert link.operator(path) == 401
        assert link.operator(path, Authorization="Bearer " + "0" * 64) == 401
    token = link.folder.operator_token.read_text()
    assert link.operator("/docs", "GET", Authorization=f"Bearer {token}") == 401
    assert link.operator("/docs", "GET", Fedprint_Proof=proof(token, "GET", "/docs", b"")) == 200


def test_who_listens_in_the_superlinks_place_is_not_shown_the_token():
    """Any user of the machine can listen at the operator's port while the SuperLink is down."""
    with socket.create_server(("127.0.0.1", 0)) as impostor:
        asking = threading.Thread(target=ask_impostor, args=(impostor.getsockname()[1],))
        asking.start()
        connection, _ = impostor.accept()
        with connection:
            heard = connection.recv(65_536)
        asking.join()
    assert b"/v1/control/list-nodes" in heard
    assert TOKEN.encode() not in heard


def ask_impostor(port):
    with Control(port, TOKEN) as control, suppress(DeploymentError):
        control.nodes()


def test_no_app_but_ours_is_run_even_for_who_holds_the_token(link, control, monkeypatch):
    """The code of an app would run at the hub, as its user."""
    monkeypatch.setattr("aggregator.flower.control.bundle_bytes", lambda: bundle_bytes() + b"more")
    with pytest.raises(DeploymentError, match="refused to start a run: status 4") as raised:
        control.start_run({})
    assert "401" not in raised.value.problem


def test_the_operators_port_serves_no_site(link):
    assert link.operator("/v1/fleet/pull-messages") == 403


def test_the_state_of_the_superlink_is_readable_by_its_owner_alone(link):
    files = [path for path in link.folder.flower.iterdir() if path.is_file()]
    assert link.folder.flower_state in files
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


def test_the_client_registers_and_unregisters_nodes(link, control):
    control.register("anna", NODE_KEY)
    (node,) = control.nodes()
    assert (node.name, node.public_key) == ("anna", pem_of_public_text(NODE_KEY))
    with pytest.raises(DeploymentError, match="refused to register the node of anna"):
        control.register("anna", NODE_KEY)
    control.unregister(node)
    assert control.nodes() == []


def test_a_key_may_be_registered_again_after_it_was_unregistered(link, control):
    for _ in range(2):
        control.register("anna", NODE_KEY)
        (node,) = control.nodes()
        control.unregister(node)
    assert control.nodes() == []


def test_the_client_starts_and_stops_runs(control):
    run_id = control.start_run({"job-id": "j", "hub-config": "/somewhere/hub.toml"})
    assert control.run(run_id).status == "pending"
    assert run_id in [run.run_id for run in control.runs()]
    control.stop_run(run_id)
    assert control.run(run_id).outcome == "stopped"
    assert control.run("12345") is None


def test_a_client_with_another_token_is_refused(link):
    with Control(link.serve.operator_port, "0" * 64) as stranger, pytest.raises(DeploymentError, match="401"):
        stranger.nodes()


def test_a_client_without_a_superlink_says_so():
    with (
        Control(free_ports(1)[0], "0" * 64) as lonely,
        pytest.raises(DeploymentError, match="does not answer"),
    ):
        lonely.nodes()


@pytest.mark.parametrize("place", ["public", "operator"])
def test_flowers_own_command_starts_no_run(link, tmp_path, place):
    home = tmp_path / "flwr"
    home.mkdir()
    address = f'address = "127.0.0.1:{link.serve.port if place == "public" else link.serve.operator_port}"'
    trust = f'root-certificates = "{link.folder.ca_certificate}"' if place == "public" else "insecure = true"
    (home / "config.toml").write_text(f'[superlink]\ndefault = "hub"\n[superlink.hub]\n{address}\n{trust}\n')
    flwr = Path(sys.executable).parent / "flwr"
    done = subprocess.run(
        [flwr, "run", build_bundle(tmp_path / "fedprint-app"), "hub"],
        env=environment(link.folder) | {"FLWR_HOME": str(home), "FLWR_DISABLE_UPDATE_CHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "Successfully started" not in done.stdout


def test_a_signal_ends_it_and_its_state_stays(tmp_path):
    folder = write_hub(tmp_path)
    first = Link(folder).wait()
    with Control.of(folder, first.serve) as control:
        control.register("anna", NODE_KEY)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(PATIENCE_S) == 0
    second = Link(folder).wait()
    try:
        with Control.of(folder, second.serve) as control:
            assert [node.name for node in control.nodes()] == ["anna"]
    finally:
        second.process.kill()
        second.process.wait()


def test_it_does_not_start_with_a_key_that_others_can_read(tmp_path):
    folder = write_hub(tmp_path)
    folder.server_key.chmod(0o644)
    assert "can be read or changed by others" in refusal(folder)


def test_it_does_not_start_without_tls(tmp_path):
    folder = write_hub(tmp_path)
    folder.server_certificate.unlink()
    assert "server.crt" in refusal(folder)


def test_it_does_not_start_with_legacy_endpoints(tmp_path):
    assert "opens an endpoint" in refusal(write_hub(tmp_path), FLWR_INTERNAL_GRPC_CONTROL_API="1")
