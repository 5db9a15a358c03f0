"""A bare SuperLink with TLS and node authentication, and a ServerApp that a test tells what to send."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from served_site import Authority

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PATIENCE_S = 180

_PROJECT = """
[project]
name = "test-app"
version = "0.1.0"
license = "Apache-2.0"
dependencies = []
[tool.flwr.app]
publisher = "test"
fab-include = ["*.py"]
[tool.flwr.app.components]
serverapp = "hub_app:app"
clientapp = "site_app:app"
[tool.flwr.app.config]
orders = ""
"""
_HUB_APP = '''
"""Sends what a test puts into a folder, and puts the answers beside it."""
import json
import time
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    orders, pending = Path(context.run_config["orders"]), {}
    while not (orders / "stop").exists():
        for order in orders.glob("*.order"):
            nodes = list(grid.get_node_ids())
            if not nodes:
                continue
            content = RecordDict({"order": ConfigRecord(json.loads(order.read_text()))})
            message = Message(content, nodes[0], "query." + content["order"]["do"])
            (sent,) = grid.push_messages([message])
            pending[sent] = order
            order.rename(order.with_suffix(".sent"))
        for reply in grid.pull_messages(list(pending)):
            order = pending.pop(reply.metadata.reply_to_message_id)
            if reply.has_error():
                told = {"error": reply.error.code, "reason": reply.error.reason}
            else:
                told = dict(reply.content["answer"])
            half = order.with_suffix(".half")
            half.write_text(json.dumps(told))
            half.rename(order.with_suffix(".reply"))
        time.sleep(0.1)
'''
SITE_APP = '''
"""Does what the tests need of a site."""
import os
import time
from pathlib import Path
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


def answer(message, **told):
    return Message(RecordDict({"answer": ConfigRecord(told)}), reply_to=message)


@app.query("echo")
def echo(message, context):
    return answer(message, text=message.content["order"]["text"], config=context.node_config["site-config"])


@app.query("fail")
def fail(message, context):
    raise ValueError("/data/patients/Miller.dcm")


@app.query("environment")
def environment(message, context):
    return answer(message, names=sorted(os.environ))


@app.query("nap")
def nap(message, context):
    order = message.content["order"]
    Path(order["begun"]).touch()
    while not Path(order["enough"]).exists():
        time.sleep(0.05)
    return answer(message, text="slept")


@app.query("hang")
def hang(message, context):
    Path(message.content["order"]["pid"]).write_text(str(os.getpid()))
    time.sleep(600)
'''


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, patience_s=PATIENCE_S):
    """Return what the condition returns as soon as it is true."""
    limit = time.monotonic() + patience_s
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen within {patience_s} s")


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def kill_group(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment(home: Path) -> dict[str, str]:
    """Environment of every process of a test."""
    return os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
    }


class Hub:
    """The SuperLink.

    Args:
        folder: Where it and its runs keep their files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority, self.port = folder, Authority.make(), free_port()
        self.environment = environment(folder / "home")
        certificate, key = self.authority.write_server(folder)
        ca = folder / "ca.crt"
        ca.write_bytes(self.authority.pem)
        (folder / "home").mkdir()
        (folder / "home" / "config.toml").write_text(
            f'[superlink]\ndefault = "test"\n[superlink.test]\naddress = "{self.address}"\n'
            f'root-certificates = "{ca}"\n'
        )
        self._log = (folder / "superlink.log").open("ab")
        self._process = subprocess.Popen(
            [
                BIN / "flower-superlink", "--host", "127.0.0.1", "--port", str(self.port),
                "--ssl-ca-certfile", ca, "--ssl-certfile", certificate, "--ssl-keyfile", key,
                "--enable-supernode-auth", "--database", str(folder / "state.db"),
            ],
            env=self.environment, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        wait_until(lambda: is_listening(self.port), "the SuperLink's start")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def flwr(self, *arguments):
        done = subprocess.run(
            [BIN / "flwr", *map(str, arguments), "--format", "json"],
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout)
        assert told["success"], told
        return told

    def register(self, public_key: bytes) -> None:
        path = self.folder / f"{uuid.uuid4().hex}.pub"
        path.write_bytes(public_key)
        self.flwr("supernode", "register", path, "test")

    def begin(self, name: str, site_app: str = SITE_APP) -> "Orders":
        """Begin a run of an app and return the folder of its orders."""
        project = self.folder / name
        orders = project / "orders"
        orders.mkdir(parents=True)
        (project / "pyproject.toml").write_text(_PROJECT)
        (project / "hub_app.py").write_text(_HUB_APP)
        (project / "site_app.py").write_text(site_app)
        self.flwr("run", project, "test", "--run-config", f'orders="{orders}"')
        return Orders(orders)

    def close(self) -> None:
        kill_group(self._process)
        self._log.close()


class Orders:
    """What a run is told to send to its one site.

    Args:
        folder: Shared with its ServerApp.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, do: str, **content: str) -> Path:
        """Send a message; returns where its answer will be."""
        order = self._folder / f"{uuid.uuid4().hex}.order"
        half = order.with_suffix(".new")
        half.write_text(json.dumps({"do": do, **content}))
        half.rename(order)
        return order.with_suffix(".reply")

    def answer(self, reply: Path) -> dict:
        wait_until(reply.exists, f"the answer {reply.name}")
        return json.loads(reply.read_text())

    def ask(self, do: str, **content: str) -> dict:
        """Send a message and wait for the answer."""
        return self.answer(self.send(do, **content))

    def stop(self) -> None:
        (self._folder / "stop").touch()
