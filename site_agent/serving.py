"""``fedprint site serve``: the processes of a site that takes part in a deployment."""

import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from federation import logs
from federation.canonical import sha256_hex
from federation.errors import BusyError, DeploymentError
from federation.files import locked, read_file, write_atomically
from federation.node_key import public_text, read_node_key
from federation.supervisor import Program, Supervisor
from site_agent.config import SiteConfig
from site_agent.flower.environment import for_flower
from site_agent.readiness import check_readiness
from site_agent.site_folder import SiteFolder

_SECRET_BYTES = 32
_MODULES = {
    "supernode": "site_agent.flower.supernode_guard",
    "superexec": "site_agent.flower.clientapp_guard",
    "metrics": "site_agent.operations.server",
}


def serve_site(folder: SiteFolder, *, json_logs: bool = False) -> int:
    """Keep a site connected to its hub until a signal.

    Args:
        folder: The site's files.
        json_logs: Whether processes log one JSON object a line.

    Returns:
        Exit status.

    Raises:
        DeploymentError: If the same site is served already.
        ConfigError: If something would leave the site unguarded.
    """
    os.umask(0o077)  # logs, unpacked apps and Flower's files are nobody else's
    config = check_readiness(folder)
    with _the_only_one(folder):
        write_atomically(folder.superexec_secret, secrets.token_bytes(_SECRET_BYTES))
        folder.approved_bundles.mkdir(parents=True, exist_ok=True)
        return Supervisor(programs(folder, config, json_logs), folder.logs, folder.supervisor_status).run()


def programs(folder: SiteFolder, config: SiteConfig, json_logs: bool) -> tuple[Program, ...]:
    """Return what runs at a site; no argument and no variable holds a secret.

    Args:
        folder: The site's files.
        config: Its configuration.
        json_logs: Whether processes log one JSON object a line.
    """
    place = str(folder.path.resolve())
    environment = {
        **for_flower(os.environ, folder.flower / "home"),
        **logs.environment(json=json_logs, member=config.name),
    }
    return tuple(
        # -P: what lies in the working directory is not imported
        Program(name, (sys.executable, "-P", "-m", module, place), environment)
        for name, module in _MODULES.items()
    )


@contextmanager
def _the_only_one(folder: SiteFolder) -> Iterator[None]:
    """Two SuperNodes with one key would take each other's messages."""
    try:
        with locked(folder.flower / "serve.lock", wait=False), _the_only_copy(folder):
            yield
    except BusyError as error:
        raise DeploymentError(
            f"the site in {folder.path} is served already",
            remedy="stop the other `fedprint site serve` first",
        ) from error


@contextmanager
def _the_only_copy(folder: SiteFolder) -> Iterator[None]:
    """Keep copies of the folder from being served on this machine: two ledgers would spend one budget twice.

    The kernel gives a name of the abstract namespace to one process, and takes it back however that ends.
    """
    key = public_text(read_node_key(read_file(folder.node_key, "node key")))
    with socket.socket(socket.AF_UNIX) as name:
        try:
            name.bind(f"\0fedprint site {sha256_hex(key.encode())}")
        except OSError as error:
            raise DeploymentError(
                f"a copy of the site in {folder.path} is served on this machine already",
                remedy="serve a site from one folder: a copy's ledger does not know what the other spends",
            ) from error
        yield
