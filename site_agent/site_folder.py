"""Where a site that takes part in a deployment keeps its files."""

from dataclasses import dataclass
from pathlib import Path

from site_agent.policy import POLICY_FILE


@dataclass(frozen=True)
class SiteFolder:
    """One folder of a site.

    Args:
        path: The folder; ``site.toml`` lies in it.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The site file."""
        return self.path / "site.toml"

    @property
    def policy(self) -> Path:
        """What may leave, and to whom."""
        return self.path / POLICY_FILE

    @property
    def state(self) -> Path:
        """Keys, ledger, releases and log."""
        return self.path / "state"

    @property
    def node_key(self) -> Path:
        """Private key by which the SuperNode is known to the SuperLink (NIST P-384, OpenSSH format)."""
        return self.state / "node.key"

    @property
    def next_node_key(self) -> Path:
        """The node key that takes the place of the present one once the hub's membership names it."""
        return self.state / "node.key.next"

    def enrolment(self, site: str) -> Path:
        """What the site sends to the operator to be let in."""
        return self.path / f"{site}.enrolment.json"

    def rotation(self, site: str) -> Path:
        """What the site sends to the operator to change its node key."""
        return self.path / f"{site}.rotation.json"

    @property
    def space(self) -> Path:
        """The space that the invitation carried."""
        return self.path / "hub" / "space.safetensors"

    @property
    def invitation(self) -> Path:
        """The invitation that the site accepted."""
        return self.path / "hub" / "invitation.json"

    @property
    def ca_certificate(self) -> Path:
        """Certificate of the consortium's authority."""
        return self.path / "hub" / "ca.crt"

    @property
    def membership(self) -> Path:
        """The site's membership as the hub last sent it."""
        return self.path / "hub" / "membership.json"

    @property
    def log_copy(self) -> Path:
        """What the site keeps of the hub's log: tree heads and proofs."""
        return self.path / "hub" / "log"

    @property
    def approved_bundles(self) -> Path:
        """App bundles that may run here: ``SHA256.fab``."""
        return self.path / "bundles" / "approved"

    @property
    def waiting_bundles(self) -> Path:
        """App bundles that arrived and were refused until somebody approves them."""
        return self.path / "bundles" / "waiting"

    @property
    def flower(self) -> Path:
        """Flower's own files: its home, the secret of its processes."""
        return self.path / "flower"

    @property
    def link_status(self) -> Path:
        """Whether the site is connected to its hub."""
        return self.flower / "status.json"

    @property
    def supervisor_status(self) -> Path:
        """Which processes of ``fedprint site serve`` run."""
        return self.flower / "processes.json"

    @property
    def superexec_secret(self) -> Path:
        """By which the site's own processes know each other."""
        return self.flower / "superexec.secret"

    @property
    def running_apps(self) -> Path:
        """A folder for every ClientApp that runs, gone when it ends."""
        return self.flower / "apps"

    @property
    def logs(self) -> Path:
        """Logs of the processes of ``fedprint site serve``."""
        return self.path / "logs"
