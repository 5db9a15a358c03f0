"""What ``fedprint site verify`` does with one copy of a log."""

from dataclasses import dataclass
from pathlib import Path

from federation.errors import ConfigError, LogError, UnknownNameError
from federation.files import write_atomically
from federation.identity import Identity
from site_agent.config import SiteConfig
from site_agent.hub_log.comparison import Exported, Verdict, compare, read_proof
from site_agent.hub_log.copy import LogCopy, all_copies
from site_agent.hub_log.verify import VerifiedCopy, verify_copy
from site_agent.state import SiteState

ACCEPTED = "log-contradiction-accepted"
"""What the site's log calls it when somebody lets a hub be answered again."""


@dataclass(frozen=True)
class Sitting:
    """A person at a site, looking at one log.

    Args:
        copy: The site's copy of it.
        identity: Who the site is.
        state: The site's memory.
    """

    copy: LogCopy
    identity: Identity
    state: SiteState

    @classmethod
    def open(cls, path: Path, log: str = "") -> "Sitting":
        """Open the copy of a site file.

        Args:
            path: The site file.
            log: Beginning of the log's id; needed only where there are several.

        Raises:
            ConfigError: If the file is wrong, or there are several logs.
            UnknownNameError: If there is no such copy.
        """
        config = SiteConfig.read(path)
        found = [copy for copy in all_copies(config) if copy.folder.name.startswith(log)]
        if not found:
            raise UnknownNameError(
                f"site {config.name} keeps no copy of a log {log}".rstrip(),
                remedy="it gets one with the first job that it takes part in",
            )
        if len(found) > 1:
            raise ConfigError(
                f"site {config.name} keeps copies of {len(found)} logs",
                remedy=f"choose with --log: {', '.join(copy.folder.name[:12] for copy in found)}",
            )
        state = SiteState(config.state)
        return cls(found[0], Identity.load(config.name, state.key_path), state)

    def verify(self) -> VerifiedCopy:
        """Verify the copy."""
        return verify_copy(self.copy, self.identity, self.state.events())

    def export(self, path: Path) -> None:
        """Write what another site can compare with."""
        write_atomically(path, self._exported().to_bytes())

    def compare(self, path: Path, proof: Path | None) -> tuple[Verdict, str]:
        """Compare with what another site exported.

        Raises:
            LogError: If a file is not what it should be.
        """
        theirs = Exported.read(path)
        return compare(self._exported(), theirs, None if proof is None else read_proof(proof))

    def disputed(self) -> list[str]:
        """Return what contradicts the copy.

        Raises:
            LogError: If nothing does.
        """
        found = self.copy.contradiction()
        if found is None:
            raise LogError("nothing contradicts this copy", remedy="there is nothing to accept")
        return [f"job {found['job']}: {found['problem']}"]

    def accept(self, why: str) -> Path:
        """Let the hub be answered again.

        Args:
            why: What the person found out.

        Returns:
            Where everything is kept that was known before.
        """
        if not why.strip():
            raise ConfigError("nobody said why", remedy='give --accept "what the hub\'s people explained"')
        self.disputed()
        kept = self.copy.accept(why)
        self.state.record(ACCEPTED, log=self.copy.folder.name, why=why, kept=str(kept))
        return kept

    def _exported(self) -> Exported:
        exported = Exported.of(self.copy.updates(), self.identity.name, self.identity.public_key)
        if not exported.links:
            raise LogError("this site has witnessed nothing yet", remedy="take part in a job first")
        return exported
