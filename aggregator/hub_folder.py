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
    def key(self) -> Path:
        """The hub's signing key."""
        return self.path / "hub.key"

    @property
    def space(self) -> Path:
        """The space that all sites work in."""
        return self.path / "space.safetensors"

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

    @property
    def flower_state(self) -> Path:
        """The SuperLink's database; only its owner may read it."""
        return self.flower / "state.db"

    @property
    def operator_token(self) -> Path:
        """What has to be shown at the operator port to start runs and register nodes."""
        return self.flower / "operator.token"

    @property
    def superexec_secret(self) -> Path:
        """What the process shares with the SuperLink that may start the aggregator."""
        return self.flower / "superexec.secret"

    @property
    def task_tokens(self) -> Path:
        """What the aggregator's processes show to the SuperLink, a file for each while it runs."""
        return self.flower / "tokens"

    @property
    def runs(self) -> Path:
        """Locks of the aggregator's processes: ``FLOWER_RUN.lock``, held while a process works."""
        return self.flower / "runs"

    @property
    def serve_lock(self) -> Path:
        """Held by ``fedprint hub serve``: one folder is served once."""
        return self.flower / "serve.lock"

    @property
    def aggregator_lock(self) -> Path:
        """Held by the aggregator's process that works: a folder is worked in by one."""
        return self.flower / "aggregator.lock"
