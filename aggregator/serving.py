"""The processes of a hub that serves its consortium."""

import os
import socket
import sys

from aggregator.flower.secrets import make_secrets
from aggregator.flower.startup import check_startup
from aggregator.flower.superlink_guard import LOOPBACK, environment
from aggregator.hub_folder import HubFolder
from aggregator.operated_hub import OperatedHub
from aggregator.serve_config import ServeConfig
from federation import logs
from federation.errors import BusyError, DeploymentError
from federation.files import locked
from federation.supervisor import Program, Supervisor

SUPERLINK, SUPEREXEC, JOBS, METRICS = "superlink", "superexec", "jobs", "metrics"


def serve_hub(folder: HubFolder, *, json: bool = False) -> int:
    """Serve a hub's folder until a signal.

    Args:
        folder: The hub's folder.
        json: Whether logs are JSON, one object a line.

    Returns:
        0 after an orderly stop, ``EX_CONFIG`` after a process that refused to start.

    Raises:
        ConfigError: If the hub file is wrong.
        DeploymentError: If anything that guards the hub is missing, or the folder is served already.
        StoreError: If something cannot be read or written.
    """
    os.umask(0o077)
    try:
        with locked(folder.serve_lock, wait=False):
            programs = prepare(folder, json=json)
            return Supervisor(programs, folder.logs, folder.supervisor_status).run()
    except BusyError as error:
        raise DeploymentError(
            f"{folder.path} is being served already",
            remedy="`fedprint hub status` shows it; stop it first, or serve another folder",
        ) from error


def prepare(folder: HubFolder, *, json: bool = False) -> tuple[Program, ...]:
    """Return what is run for a hub, after everything that guards it was checked; arguments as above."""
    hub = OperatedHub.open(folder.path).config
    make_secrets(folder)
    check_startup(folder, hub.serve)
    check_ports_are_free(hub.serve)
    told = environment(folder) | logs.environment(json=json, member=hub.consortium)
    return tuple(Program(name, command, told) for name, command in _commands(folder).items())


def check_ports_are_free(serve: ServeConfig) -> None:
    """Raise if somebody else listens where the hub would.

    Raises:
        DeploymentError: If a port is taken or may not be used.
    """
    places = {
        "port": (serve.host, serve.port),
        "operator_port": (LOOPBACK, serve.operator_port),
        "metrics_port": (serve.metrics_host, serve.metrics_port),
    }
    for name, (host, port) in places.items():
        try:
            socket.create_server((host, port), family=_family(host)).close()
        except OSError as error:
            raise DeploymentError(
                f"nothing can listen on {host} port {port}: {error.strerror}",
                remedy=f"stop what listens there, or change [serve] {name} in hub.toml",
            ) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _commands(folder: HubFolder) -> dict[str, tuple[str, ...]]:
    """Name → program and arguments, in the order of starting; no secret is among them."""
    place = str(folder.path.resolve())
    python = (sys.executable, "-P", "-m")  # -P: what lies in the working directory is not imported
    return {
        SUPERLINK: (*python, "aggregator.flower.superlink_guard", place),
        SUPEREXEC: (*python, "aggregator.flower.superexec_guard", place),
        JOBS: (*python, "aggregator.jobs.process", place),
        METRICS: (*python, "aggregator.operations.server", place),
    }
