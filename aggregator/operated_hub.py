"""A hub as its operator works on it: folder, configuration, key, and the record of what was decided."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aggregator.config import HubConfig
from aggregator.hub_folder import HubFolder
from aggregator.members import MemberFiles
from aggregator.store import Catalogue
from federation.certificate_file import authority_sha256
from federation.errors import ConfigError
from federation.files import locked, read_file
from federation.identity import Identity


@dataclass(frozen=True)
class OperatedHub:
    """A hub of a deployment.

    Args:
        folder: Its files.
        config: Its configuration.
        identity: Its signing key.
    """

    folder: HubFolder
    config: HubConfig
    identity: Identity

    @classmethod
    def open(cls, path: Path) -> "OperatedHub":
        """Open the hub in a folder.

        Raises:
            ConfigError: If there is none, or it is one of a simulation.
            StoreError: If its key is missing.
        """
        folder = HubFolder(path)
        if not folder.config.exists():
            raise ConfigError(
                f"there is no hub in {path.resolve()}",
                remedy="name its folder with --folder; `fedprint hub init` makes one",
            )
        config = HubConfig.read(folder.config)
        if config.members is None:
            raise ConfigError(
                f"{folder.config} lists its sites as [[site]], which is for simulations",
                remedy='write members = "members" in place of the [[site]] tables',
            )
        return cls(folder, config, Identity.load(config.consortium, config.key))

    @property
    def members(self) -> MemberFiles:
        """Files of the members."""
        return MemberFiles(self.config.members or self.folder.members)

    @property
    def ca_certificate(self) -> bytes:
        """The authority's certificate, PEM."""
        return read_file(self.folder.ca_certificate, "certificate of the authority")

    @property
    def ca_sha256(self) -> str:
        """SHA-256 of the authority's certificate."""
        return authority_sha256(self.ca_certificate)

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Let one decision about members be taken at a time."""
        with locked(self.members.folder / ".lock"):
            yield

    def record(self, kind: str, site: str, **detail: Any) -> None:
        """Append a decision to the catalogue's log, before it takes effect: nothing is done unlogged.

        Raises:
            StoreError: If it cannot be written.
        """
        with Catalogue(self.config.catalogue, create=True).writing() as writer:
            writer.add_event(kind, "", site=site, **detail)
