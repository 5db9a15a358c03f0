"""What must hold before a SuperLink is let onto a network."""

import os
from importlib.metadata import version

from aggregator.flower.secrets import check_private, read_secret
from aggregator.flower.tls_rehearsal import rehearse
from aggregator.hub_folder import HubFolder
from aggregator.serve_config import ServeConfig
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
        ConfigError: If the ports cannot be told apart.
        DeploymentError: If something that guards it is missing, open to others, or not what was tested.
        StoreError: If a file cannot be read.
    """
    _check_flower()
    _check_environment()
    _check_ports(serve)
    check_private(folder.server_key, "the key of the server certificate")
    check_certificate(folder, serve)
    read_secret(folder.operator_token, "the operator's token")
    read_secret(folder.superexec_secret, "the secret of the SuperExec")
    if folder.flower_state.exists():
        check_private(folder.flower_state, "Flower's state database")


def check_certificate(folder: HubFolder, serve: ServeConfig) -> None:
    """Raise unless a site would accept the server's certificate under the hub's address.

    Raises:
        DeploymentError: If it would not.
    """
    try:
        rehearse(folder.server_certificate, folder.server_key, folder.ca_certificate, _host(serve.address))
    except (OSError, ValueError) as error:  # a failed handshake is an OSError
        raise DeploymentError(
            f"no site would accept the certificate {folder.server_certificate} of {serve.address}: {error}",
            remedy="correct [serve] address or the clock, or make another: `fedprint hub renew-certificate`",
        ) from error


def _host(address: str) -> str:
    """Return the host of ``host:port``; an IPv6 address stands in brackets."""
    return address.rpartition(":")[0].strip("[]")


def _check_flower() -> None:
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
