"""The SuperLink of a hub, guarded: ``python -m aggregator.flower.superlink_guard FOLDER``.

One app behind two doors (``aggregator.flower.doors``): the public one, with TLS and authentication of nodes,
and the operator's on loopback. Runs are started by another process (process isolation) that shares a secret
with this one, so a task cannot be stolen. The state database is a file that only its owner reads.

This file alone uses private names of Flower's SuperLink. They are those of the pinned version;
``tests/aggregator/flower/test_superlink_contract.py`` says what is expected of them.
"""

import asyncio
import logging
import os
import secrets
import signal
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from aggregator.config import HubConfig
from aggregator.flower.connections import HastyProtocol
from aggregator.flower.doors import App, OperatorDoor, PublicDoor
from aggregator.flower.node_proof import NodeProof
from aggregator.flower.secrets import read_secret
from aggregator.flower.startup import check_startup
from aggregator.hub_folder import HubFolder
from aggregator.serve_config import ServeConfig
from federation import logs
from federation.app_bundle import bundle_hash
from federation.config_file import read_config
from federation.errors import DeploymentError, FedprintError
from federation.files import read_file
from federation.operations.disk import Disk
from federation.supervisor import EX_CONFIG

log = logging.getLogger("fedprint.superlink")

LOOPBACK = "127.0.0.1"
ISOLATION_BY_PROCESS = "process"

_GRACE_S = 3
_ROUTINE = ("ControlServicer.ListNodes", "ControlServicer.ListRuns")


def environment(folder: HubFolder) -> dict[str, str]:
    """Return what every process of Flower at a hub is told: no word to anybody outside, and look often.

    The programs that Flower starts by name are those beside the running Python.
    """
    here = str(Path(sys.executable).parent)
    return {
        "FLWR_HOME": str((folder.flower / "home").resolve()),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
        "PATH": os.pathsep.join((here, os.environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
    }


def _let_keys_return() -> None:
    """Let the key of an unregistered node be registered again: a membership may be renewed after it ended.

    Flower keeps an unregistered node and its key for ever, and a key only once.
    """
    state = import_module("flwr.server.superlink.linkstate.sql_linkstate")
    unregister = state.SqlLinkState.delete_node
    if getattr(unregister, "lets_keys_return", False):
        return

    def delete_node(self: Any, owner_aid: str, node_id: int) -> None:
        unregister(self, owner_aid, node_id)
        node = state.NodeModel
        this = sa.update(node).where(node.node_id == state.uint64_to_int64(node_id))
        with self.session() as session:
            session.execute(this.values(public_key=b"unregistered " + secrets.token_bytes(16)))

    delete_node.lets_keys_return = True  # type: ignore[attr-defined]
    state.SqlLinkState.delete_node = delete_node


def _run_only_our_app() -> None:
    """Let no run begin but of the installed fedprint's own bundle: its code would run here, as the hub."""
    state = import_module("flwr.server.superlink.linkstate.sql_linkstate")
    create = state.SqlLinkState.create_run
    if getattr(create, "runs_only_our_app", False):
        return

    def create_run(self: Any, fab_id: Any, fab_version: Any, fab_hash: Any, *more: Any, **named: Any) -> int:
        if fab_hash != bundle_hash():
            raise ValueError("another app than that of the installed fedprint")
        run_id: int = create(self, fab_id, fab_version, fab_hash, *more, **named)
        return run_id

    create_run.runs_only_our_app = True  # type: ignore[attr-defined]
    state.SqlLinkState.create_run = create_run


def build_app(folder: HubFolder, serve: ServeConfig) -> FastAPI:
    """Return Flower's app with everything switched on that guards it.

    Raises:
        DeploymentError: If Flower does not do as it was told.
        StoreError: If a file cannot be read.
    """
    _let_keys_return()
    _run_only_our_app()
    config_type = import_module("flwr.superlink.config_loader").SuperLinkLifespanConfig
    accounts = import_module("flwr.superlink.auth_plugin").NoOpControlAuthnPlugin
    lifespan = import_module("flwr.superlink.cli.flower_superlink").SuperLinkLifespan
    tls = (folder.ca_certificate, folder.server_certificate, folder.server_key)
    config = config_type(
        control_address=f"{LOOPBACK}:0",
        health_server_address=None,
        host=serve.host,
        port=serve.port,
        insecure=False,
        certificates=tuple(read_file(path, "TLS file") for path in tls),
        superexec_auth_secret=read_secret(folder.superexec_secret, "the secret of the SuperExec").encode(),
        authn_plugin=accounts(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=True,
        fleet_api_type="grpc-rere",
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=str(folder.ca_certificate),
        ssl_certfile=str(folder.server_certificate),
        ssl_keyfile=str(folder.server_key),
        database=str(folder.flower_state),
        isolation=ISOLATION_BY_PROCESS,
        runtime_dependency_install=False,
    )
    app: FastAPI = import_module("flwr.superlink.main").create_app(config, lifespan)
    _check_guarded(app, folder)
    return app


def _check_guarded(app: FastAPI, folder: HubFolder) -> None:
    state = app.state
    if not (
        state.enable_supernode_auth is True and state.superexec_auth_secret and folder.flower_state.exists()
    ):
        raise DeploymentError(
            "the SuperLink would run without authentication of nodes, secret or durable state",
            remedy="install the version of Flower that fedprint is pinned to",
        )


class _Listener(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def listeners(app: FastAPI, folder: HubFolder, serve: ServeConfig) -> tuple[uvicorn.Server, uvicorn.Server]:
    """Return the public server and the operator's; the first one starts and stops what they share."""
    token = read_secret(folder.operator_token, "the operator's token")
    operator = _listener(OperatorDoor(app, token), LOOPBACK, serve.operator_port, None)
    state = app.state.linkstate_factory.state()
    proof = NodeProof(lambda key: state.get_node_id_by_public_key(key) is not None)
    public = PublicDoor(app, proof, has_room=lambda: Disk.of(folder.flower).is_enough)
    return _listener(public, serve.host, serve.port, folder), operator


def _listener(door: App, host: str, port: int, tls: HubFolder | None) -> uvicorn.Server:
    config = uvicorn.Config(
        door,
        http=HastyProtocol,
        host=host,
        port=port,
        ssl_certfile=tls.server_certificate if tls else None,
        ssl_keyfile=tls.server_key if tls else None,
        lifespan="on" if tls else "off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return _Listener(config)


async def serve_all(servers: Sequence[uvicorn.Server]) -> None:
    """Serve until a signal, or until one of the servers ends; then end all."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    end()
    await asyncio.gather(*tasks)


def compact(database: Path) -> None:
    """Give back the room of what Flower has deleted; SQLite never does by itself, and overwrites nothing."""
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("VACUUM")
    except sqlite3.Error as error:  # a full disk, above all: the database is as it was
        log.warning("%s was not compacted: %s", database, error)


def _leave_out_routine() -> None:
    """Keep out of the log what happens several times a second; the doors log what they refuse."""
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("flwr").addFilter(lambda record: not str(record.msg).startswith(_ROUTINE))


def main(arguments: Sequence[str]) -> int:
    """Run the guarded SuperLink of a hub's folder.

    Returns:
        0 after a signal, ``EX_CONFIG`` where it refuses to start.
    """
    os.umask(0o077)
    try:
        folder = HubFolder(Path(arguments[0]).resolve())
        serve = read_config(folder.config, HubConfig).serve
        check_startup(folder, serve)
        compact(folder.flower_state)
        app = build_app(folder, serve)
        servers = listeners(app, folder, serve)
    except FedprintError as error:
        log.error("the SuperLink does not start: %s", error)
        return EX_CONFIG
    logs.configure_child("superlink")
    _leave_out_routine()
    asyncio.run(serve_all(servers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
