"""Whether a site may be served: what would leave it unguarded is refused at the start."""

import importlib.metadata
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from federation.address import is_address
from federation.errors import ConfigError
from federation.files import read_file
from federation.node_key import read_node_key
from site_agent.config import SiteConfig
from site_agent.policy import Policy
from site_agent.serve_config import HubConnection
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState

FLOWER = "1.41.0"
"""The one version of Flower that the guards are made for."""

_FOR_OTHERS = 0o077
_WRITABLE_FOR_OTHERS = 0o022


def check_readiness(folder: SiteFolder) -> SiteConfig:
    """Return the configuration of a site that may be served.

    Raises:
        ConfigError: If something would leave it unguarded; names the file and what to do.
        EnrolmentError: If the node key is none.
        StoreError: If a file that is needed cannot be read.
        PolicyError: If there is no policy, or it contradicts itself.
    """
    config = SiteConfig.read(folder.config)
    if config.hub is None:
        raise ConfigError(
            f"{folder.config} has no table [hub]",
            remedy="fedprint site init INVITATION writes it; ask the hub for an invitation",
        )
    check_flower()
    check_address(config.hub.address)
    check_authority(config.hub)
    check_secret_file(folder.node_key, "the node key")
    read_node_key(read_file(folder.node_key, "the node key"))
    check_secret_file(SiteState(config.state).key_path, "the signing key")
    if config.policy is not None:
        Policy.read(config.policy)
    for bundles in (folder.approved_bundles, folder.approved_bundles.parent, folder.path):
        check_only_ours(bundles)
    return config


def check_flower(version: Callable[[str], str] = importlib.metadata.version) -> None:
    """Refuse any other version of Flower: its names and its habits change.

    Raises:
        ConfigError: If another one is installed.
    """
    found = version("flwr")
    if found != FLOWER:
        raise ConfigError(
            f"Flower {found} is installed; the guards of this site are made for {FLOWER}",
            remedy=f"pip install flwr=={FLOWER}, or the version of fedprint that was made for Flower {found}",
        )


def check_address(address: str) -> None:
    """Refuse an address that is not ``host:port``.

    Raises:
        ConfigError: If it names no port, or how to talk (``http://``).
    """
    if not is_address(address):
        raise ConfigError(
            f"the address of the hub in site.toml is {address!r}, not host:port",
            remedy="write it as the invitation does, such as hub.example.org:8000, without https://",
        )


def check_authority(hub: HubConnection) -> None:
    """Refuse a missing, damaged or expired certificate of the consortium's authority.

    Raises:
        ConfigError: If there is none, or it is no certificate that holds today.
    """
    path = hub.ca_certificate
    if not path.is_file():
        raise ConfigError(
            f"the certificate of the consortium's authority {path} is missing",
            remedy="fedprint site init INVITATION writes it; without it nobody knows who the hub is",
        )
    try:
        certificate = x509.load_pem_x509_certificate(read_file(path, "the authority's certificate"))
    except ValueError as error:
        raise ConfigError(f"{path} is no certificate", remedy="restore it from your invitation") from error
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise ConfigError(
            f"the certificate {path} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            remedy="ask the hub for the new one, or set this machine's clock if the date is wrong",
        )


def check_secret_file(path: Path, what: str) -> None:
    """Refuse a private key that others than its owner can read.

    Args:
        path: The file.
        what: What it is, for the message of the error.

    Raises:
        ConfigError: If it is missing, or others may read or write it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(
            f"{what} {path} cannot be read: {error.strerror}",
            remedy="fedprint site init makes it; restore it from backup if it was lost",
        ) from error
    if mode & _FOR_OTHERS:
        raise ConfigError(
            f"{what} {path} can be read by others (mode {mode:03o})",
            remedy=f"chmod 600 {path}; if others could log in here, make new keys: fedprint site rotate-keys",
        )


def check_only_ours(folder: Path) -> None:
    """Refuse a folder in which others could put what runs here.

    Raises:
        ConfigError: If it belongs to another user, or others may write to it.
    """
    if not folder.exists():
        return
    found = folder.stat()
    if found.st_uid not in (os.getuid(), 0) or stat.S_IMODE(found.st_mode) & _WRITABLE_FOR_OTHERS:
        raise ConfigError(
            f"others may write to {folder}, and so decide what runs here",
            remedy=f"chown it to the user of the service, and chmod go-w {folder}",
        )
