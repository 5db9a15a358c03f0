"""The SuperExec of a hub, guarded: ``python -m aggregator.flower.superexec_guard FOLDER``.

Flower's own gives every process that it starts the token of its task as an argument, which any user of the
machine can read; who has the token speaks to the sites in the aggregator's place. Here the token is in a file
that only its owner reads. Nothing is started but ServerApps.

This file alone uses private names of Flower's SuperExec at a hub; ``test_superlink_contract.py`` pins them.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from aggregator.config import HubConfig
from aggregator.flower.secrets import read_secret
from aggregator.flower.startup import check_flower
from aggregator.hub_folder import HubFolder
from federation import logs
from federation.config_file import read_config
from federation.errors import FedprintError
from federation.files import make_private, write_atomically
from federation.supervisor import EX_CONFIG

log = logging.getLogger("fedprint.superexec")

_LOOPBACK = "127.0.0.1"
_PATIENCE_S = 5.0
_superexec = import_module("flwr.supercore.superexec.run_superexec")
_types = import_module("flwr.supercore.superexec.executor")
_constants = import_module("flwr.supercore.constant")


@dataclass(frozen=True)
class _Running:
    """A ServerApp and the file of its token."""

    process: subprocess.Popen[bytes]
    token: Path


class ServerAppExecutor:
    """Starts ServerApps; the token of each is in a file that only its owner can read.

    Args:
        tokens: Folder of the files.
    """

    def __init__(self, tokens: Path) -> None:
        self._tokens = make_private(tokens)
        self._running: list[_Running] = []
        for left in tokens.iterdir():  # of a SuperExec that was killed
            left.unlink()

    def get_eligible_capacity(
        self, supported_task_types: set[Any], **_more: object
    ) -> tuple[set[Any], set[str]]:
        """Take nothing but ServerApps from the SuperLink."""
        return supported_task_types & {_constants.TaskType.SERVER_APP}, set()

    def wait_for_capacity(self, *_arguments: object, **_more: object) -> None:
        """Return at once."""

    def launch(self, spec: Any) -> Any:
        """Start the ServerApp of a task."""
        if spec.task_type is not _constants.TaskType.SERVER_APP:
            return _types.LaunchResult.failed("only ServerApps run here")
        token = self._tokens / str(spec.task_id)
        try:
            write_atomically(token, spec.token.encode())
            process = subprocess.Popen(command(spec.runtime_api_address, token), stdin=subprocess.DEVNULL)  # noqa: S603
        except (OSError, FedprintError) as error:
            log.error("the aggregator cannot be started: %s", error)
            token.unlink(missing_ok=True)
            return _types.LaunchResult.failed("it cannot be started")
        self._running.append(_Running(process, token))
        return _types.LaunchResult.accepted()

    def reconcile(self) -> None:
        """Forget the tokens of ServerApps that have ended."""
        for each in [each for each in self._running if each.process.poll() is not None]:
            self._forget(each)

    def close(self) -> None:
        """End the ServerApps that still run."""
        for each in list(self._running):
            for sign in (signal.SIGTERM, signal.SIGKILL):
                each.process.send_signal(sign)
                with suppress(subprocess.TimeoutExpired):
                    each.process.wait(_PATIENCE_S)
                    break
            self._forget(each)

    def _forget(self, running: _Running) -> None:
        self._running.remove(running)
        running.token.unlink(missing_ok=True)


def command(address: str, token: Path) -> tuple[str, ...]:
    """Return what starts a ServerApp.

    Args:
        address: host:port of the runtime API.
        token: File of its token.
    """
    return (
        str(Path(sys.executable).parent / "flwr-serverapp"),
        *("--runtime-api-address", address),
        *("--token-file", str(token)),
        *("--parent-pid", str(os.getpid())),
        "--insecure",  # plain HTTP, but on loopback
    )


def main(arguments: Sequence[str]) -> int:
    """Start ServerApps for the SuperLink of a hub's folder until a signal.

    Returns:
        ``EX_CONFIG`` where it refuses to start.
    """
    logs.configure_child("superexec")
    try:
        check_flower()
        folder = HubFolder(Path(arguments[0]).resolve())
        serve = read_config(folder.config, HubConfig).serve
        secret = read_secret(folder.superexec_secret, "the secret of the SuperExec").encode()
        executor = ServerAppExecutor(folder.task_tokens)
    except FedprintError as error:
        log.error("the SuperExec does not start: %s", error)
        return EX_CONFIG
    _superexec.get_executor = lambda *_a, **_n: executor  # type: ignore[attr-defined]
    _superexec.run_superexec(
        runtime_api_address=f"{_LOOPBACK}:{serve.operator_port}",
        insecure=True,  # plain HTTP, but on loopback
        superexec_auth_secret=secret,
        parent_pid=os.getppid(),
        runtime_dependency_install=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
