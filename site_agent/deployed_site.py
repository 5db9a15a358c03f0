"""A site of a deployment as its IT works on it: folder, name, hub and key, whatever its datasets are."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from federation.certificate_file import authority_sha256
from federation.config_file import read_config
from federation.errors import ConfigError
from federation.files import read_file
from federation.identity import Identity
from site_agent.serve_config import HubConnection
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState


class _Deployment(BaseModel):
    """What a site file says about the deployment; everything else in it may still be wrong."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    hub: HubConnection | None = None


@dataclass(frozen=True)
class DeployedSite:
    """A site that takes part in a deployment, or asked to.

    Args:
        folder: Its files.
        name: Its name.
        hub: How it reaches its hub; paths are absolute.
        identity: Its signing key.
    """

    folder: SiteFolder
    name: str
    hub: HubConnection
    identity: Identity

    @classmethod
    def open(cls, path: Path) -> "DeployedSite":
        """Open the site in a folder.

        Raises:
            ConfigError: If there is none, or it belongs to no deployment.
            StoreError: If its key is missing.
        """
        folder = SiteFolder(path)
        found = read_config(folder.config, _Deployment)
        if found.hub is None:
            raise ConfigError(
                f"{folder.config} names no hub",
                remedy="begin with an invitation: fedprint site init SITE.invitation.json",
            )
        identity = Identity.load(found.name, SiteState(folder.state).key_path)
        return cls(folder, found.name, found.hub.resolve(path), identity)

    @property
    def ca_sha256(self) -> str:
        """SHA-256 of the authority's certificate."""
        return authority_sha256(read_file(self.hub.ca_certificate, "certificate of the authority"))


def connection_of(path: Path) -> tuple[str, HubConnection | None]:
    """Return the name and the hub that a site file states.

    Raises:
        ConfigError: If it cannot be read.
    """
    found = read_config(path, _Deployment)
    return found.name, found.hub
