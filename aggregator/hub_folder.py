"""Where a hub keeps its files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HubFolder:
    """One folder holds everything that an operator has to back up, but for a database server's tables.

    Args:
        path: The folder; ``hub.toml`` lies in it.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The hub file."""
        return self.path / "hub.toml"

    @property
    def members(self) -> Path:
        """Signed memberships: ``NAME.json`` of every enrolled site."""
        return self.path / "members"

    @property
    def invitations(self) -> Path:
        """Invitations that were not answered yet: ``NAME.json``."""
        return self.path / "invitations"

    @property
    def tls(self) -> Path:
        """The consortium's certificate authority and the SuperLink's certificate."""
        return self.path / "tls"

    @property
    def ca_certificate(self) -> Path:
        """Certificate of the consortium's authority; every site has a copy."""
        return self.tls / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """Key of the authority; absent where the consortium keeps it elsewhere."""
        return self.tls / "ca.key"

    @property
    def server_certificate(self) -> Path:
        """Certificate of the SuperLink."""
        return self.tls / "server.crt"

    @property
    def server_key(self) -> Path:
        """Key of the SuperLink's certificate."""
        return self.tls / "server.key"

    @property
    def flower(self) -> Path:
        """Flower's own files: its state database, its home, the secrets of its processes."""
        return self.path / "flower"

    @property
    def logs(self) -> Path:
        """Logs of the processes of ``fedprint hub serve``."""
        return self.path / "logs"

    @property
    def supervisor_status(self) -> Path:
        """What the supervisor of ``fedprint hub serve`` says of its processes."""
        return self.flower / "processes.json"
