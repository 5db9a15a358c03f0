"""The SuperExec and the ClientApps of a site, guarded.

``python -m site_agent.flower.clientapp_guard FOLDER`` is the SuperExec: it starts a ClientApp for every
message, nothing else, in a folder and an environment of its own, and tells the SuperNode at once when one
died. ``... FOLDER TASK`` is such a ClientApp. All private names of Flower that these need are in this file; a
contract test pins them.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import httpx
from flwr.proto.runtime_pb2 import PushTaskOutputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.superexec.executor import ExecutionSpec, LaunchResult

from federation import logs
from federation.canonical import sha256_hex
from federation.errors import BundleError, FedprintError
from federation.files import read_file, write_atomically
from site_agent.bundles import Bundles
from site_agent.config import SiteConfig
from site_agent.flower.environment import for_clientapp
from site_agent.readiness import check_flower
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState

LOOPBACK = "127.0.0.1"
_MODULE = "site_agent.flower.clientapp_guard"
_PATIENCE_S = 5.0
_FAILED = "failed"
_TOKEN = "token"  # noqa: S105

log = logging.getLogger("fedprint.site")
_superexec = import_module("flwr.supercore.superexec.run_superexec")
_clientapp = import_module("flwr.supernode.runtime.run_clientapp")


@dataclass(frozen=True)
class _Running:
    """A ClientApp and the folder that is its home."""

    process: subprocess.Popen[bytes]
    home: Path


class GuardedExecutor:
    """Starts ClientApps, one at a time: a SuperNode works on one message, so an older one is forgotten.

    Args:
        folder: The site's files.
        address: Where the SuperNode listens on this machine.
        environment: Environment of the ClientApps.
    """

    def __init__(self, folder: SiteFolder, address: str, environment: Mapping[str, str]) -> None:
        self._folder, self._address, self._environment = folder, address, environment
        self._running: _Running | None = None
        for home in folder.running_apps.glob("*"):  # of a SuperExec that was killed
            self._bury(home)

    def get_eligible_capacity(
        self, supported_task_types: set[TaskType], **_more: object
    ) -> tuple[set[TaskType], set[str]]:
        """Take nothing but ClientApps from the SuperNode."""
        return supported_task_types & {TaskType.CLIENT_APP}, set()

    def wait_for_capacity(self, *_arguments: object, **_more: object) -> None:
        """Return at once."""

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Start the ClientApp of a task; its token is in a file that only we can read."""
        if spec.task_type is not TaskType.CLIENT_APP:
            return LaunchResult.failed("only ClientApps run here")
        self.close()
        home = self._folder.running_apps / str(spec.task_id)
        try:
            write_atomically(home / _TOKEN, spec.token.encode())
            command = (sys.executable, "-P", "-m", _MODULE, str(self._folder.path), str(spec.task_id))
            environment = {**self._environment, "FLWR_HOME": str(home), "HOME": str(home)}
            process = subprocess.Popen(command, cwd=home, env=environment, stdin=subprocess.DEVNULL)  # noqa: S603
        except (OSError, FedprintError) as error:
            log.error("the ClientApp cannot be started: %s", error)
            self._bury(home)
            return LaunchResult.failed("it cannot be started")
        self._running = _Running(process, home)
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        """Notice when the ClientApp has ended."""
        if self._running is not None and self._running.process.poll() is not None:
            self._forget(self._running)

    def close(self) -> None:
        """End the ClientApp that still runs."""
        if self._running is None:
            return
        process = self._running.process
        for sign in (0, signal.SIGTERM, signal.SIGKILL):
            process.send_signal(sign)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
                break
        self._forget(self._running)

    def _forget(self, running: _Running) -> None:
        self._running = None
        if running.process.returncode:
            log.error("the ClientApp ended with status %d", running.process.returncode)
            self._bury(running.home)
        else:
            shutil.rmtree(running.home, ignore_errors=True)

    def _bury(self, home: Path) -> None:
        """Tell the SuperNode that the ClientApp of a folder is gone; what it answered before, counts."""
        with suppress(OSError, httpx.HTTPError):
            report_death(self._address, (home / _TOKEN).read_text("ascii"))
        shutil.rmtree(home, ignore_errors=True)


def report_death(address: str, token: str) -> None:
    """Tell the SuperNode that the ClientApp of a token will not answer any more."""
    interceptors = (RuntimeVersionHttpInterceptor("SuperExec"), RuntimeTokenHttpInterceptor(token))
    client = RuntimeHttpClient.from_server_address(address, True, None, interceptors)
    with closing(client):
        client.PushTaskOutput(PushTaskOutputRequest(sub_status=_FAILED, details="the ClientApp ended"))


def run_superexec(folder: SiteFolder) -> None:
    """Start ClientApps for the SuperNode until a signal."""
    logs.configure_child("superexec")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    check_flower()
    config = SiteConfig.read(folder.config)
    address = f"{LOOPBACK}:{config.serve.runtime_port}"
    executor = GuardedExecutor(folder, address, for_clientapp(os.environ))
    _superexec.get_executor = lambda *_a, **_n: executor  # type: ignore[attr-defined]
    _superexec.run_superexec(
        runtime_api_address=address,
        insecure=True,  # plain HTTP, but on loopback
        superexec_auth_secret=read_file(folder.superexec_secret, "the secret of the site's processes"),
        parent_pid=os.getppid(),
        runtime_dependency_install=False,
    )


def run_clientapp(folder: SiteFolder, task: str) -> None:
    """Work on the message of one task."""
    logs.configure_child("clientapp")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config = SiteConfig.read(folder.config)
    bundles = Bundles(folder, SiteState(config.state))
    _clientapp.install_from_fab = _installing_only_from(bundles)  # type: ignore[attr-defined]
    _clientapp.run_clientapp(
        runtime_api_address=f"{LOOPBACK}:{config.serve.runtime_port}",
        token=(folder.running_apps / task / _TOKEN).read_text("ascii"),
        insecure=True,
        parent_pid=os.getppid(),
        runtime_dependency_install=False,
    )


def _installing_only_from(bundles: Bundles) -> Any:
    """Return what unpacks a bundle: the last moment at which its approval can be looked at."""
    unpack = _clientapp.install_from_fab

    def install(bundle: bytes, *arguments: object, **named: object) -> Path:
        if not bundles.admits(bundle, sha256_hex(bundle)):
            raise BundleError("the app bundle is not approved", remedy="fedprint site approve shows it")
        installed: Path = unpack(bundle, *arguments, **named)
        return installed

    return install


def main(arguments: list[str]) -> NoReturn:
    """Be the SuperExec, or the ClientApp of a task if one is named."""
    folder = SiteFolder(Path(arguments[0]))
    try:
        if len(arguments) > 1:
            run_clientapp(folder, arguments[1])
        else:
            run_superexec(folder)
    except Exception:
        log.exception("the process ended")
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
