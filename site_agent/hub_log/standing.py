"""How a site stands to the logs of its hubs, at a glance."""

from dataclasses import dataclass

from site_agent.config import SiteConfig
from site_agent.hub_log.copy import all_copies


@dataclass(frozen=True)
class LogStanding:
    """What the site knows of its hubs' logs, without verifying it again.

    Args:
        size: Entries of the longest log of which it verified a head.
        contradiction: What keeps it from answering a hub until a person has looked; empty where nothing does.
    """

    size: int
    contradiction: str = ""

    @classmethod
    def of(cls, config: SiteConfig) -> "LogStanding":
        """Return how a site stands."""
        copies = all_copies(config)
        found = [told for copy in copies if (told := copy.contradiction()) is not None]
        problem = str(found[0].get("problem", "")) if found else ""
        return cls(max((copy.size for copy in copies), default=0), problem)
