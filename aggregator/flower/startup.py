"""What must hold before a SuperLink is let onto a network."""

import os
from importlib.metadata import version

from aggregator.certificates import check_server
from aggregator.flower.secrets import check_private, read_secret
from aggregator.hub_folder import HubFolder
from aggregator.serve_config import ServeConfig
from federation.address import split_address
from federation.errors import ConfigError, DeploymentError

FLOWER_VERSION = "1.41.0"

# Each of them opens an endpoint, or takes its place, that the doors do not stand before.
_OPENINGS = (
    "FLWR_INTERNAL_GRPC_CONTROL_API",
    "FLWR_INTERNAL_GRPC_FLEET_API",
    "FLWR_OIDC_ENABLED",
    "FLWR_ENABLE_EVENT_LOG",
)


def check_startup(folder: HubFolder, serve: ServeConfig) -> None:
    """Raise unless everything that guards a SuperLink is in place.

    Args:
        folder: The hub's folder.
        serve: Where it will listen.

    Raises:
        ConfigError: If the ports cannot be told apart, or sites would not trust the certificate.
        DeploymentError: If something that guards it is missing, open to others, or not what was tested.
        StoreError: If a file cannot be read.
    """
    check_flower()
    _check_environment()
    _check_ports(serve)
    check_private(folder.server_key, "the key of the server certificate")
    host, _ = split_address(serve.address)
    check_server(folder.ca_certificate, folder.server_certificate, folder.server_key, host)
    read_secret(folder.operator_token, "the operator's token")
    read_secret(folder.superexec_secret, "the secret of the SuperExec")
    if folder.flower_state.exists():
        check_private(folder.flower_state, "Flower's state database")


def check_flower() -> None:
    """Raise if another version of Flower is installed than the guards are made for.

    Raises:
        DeploymentError: If it is.
    """
    found = version("flwr")
    if found != FLOWER_VERSION:
        raise DeploymentError(
            f"Flower {found} is installed; the guard of the SuperLink is made for {FLOWER_VERSION}",
            remedy=f"pip install flwr=={FLOWER_VERSION}",
        )


def _check_environment() -> None:
    opened = [name for name in _OPENINGS if os.environ.get(name, "0") not in ("", "0")]
    if opened:
        raise DeploymentError(
            f"the environment variable {opened[0]} opens an endpoint that is not guarded",
            remedy=f"unset {opened[0]}",
        )


def _check_ports(serve: ServeConfig) -> None:
    if serve.port == serve.operator_port:
        raise ConfigError(
            f"the public port and the operator's port are both {serve.port}",
            remedy="give [serve] operator_port another number",
        )
