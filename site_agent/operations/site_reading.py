"""Everything that is observed of a site, read part by part."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from federation.files import read_file
from federation.membership import Membership
from federation.operations.certificate import ends_at
from federation.operations.disk import Disk
from federation.operations.part import Part
from federation.operations.processes import Process, read_processes
from federation.operations.readings import Readings
from site_agent.config import SiteConfig
from site_agent.flower.link_status import Link, read_link
from site_agent.hub_log.standing import LogStanding
from site_agent.operations.activity import Activity
from site_agent.operations.activity_reader import ActivityReader
from site_agent.operations.budget_reading import BudgetLeft, BudgetReader
from site_agent.serve_config import HubConnection
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState


@dataclass(frozen=True)
class SiteReading:
    """A site at a moment; a part that could not be read is None, and why is in the readings.

    Args:
        at: Unix time in seconds.
        site: Name of the site.
        hub: The hub it belongs to, if it was invited by one.
        activity: What it did.
        budgets: What is spent and left.
        link: Its connection to the hub.
        n_waiting: App bundles that wait for approval.
        log: How it stands to the hub's log.
        ends: Kind and name → when a certificate or membership ends, Unix time in seconds.
        processes: What the supervisor keeps running.
        disk: Where the folder lies.
        readings: What could not be read.
    """

    at: float
    site: str
    hub: HubConnection | None
    activity: Activity | None
    budgets: tuple[BudgetLeft, ...] | None
    link: Link
    n_waiting: int | None
    log: LogStanding | None
    ends: Mapping[tuple[str, str], float] | None
    processes: tuple[Process, ...] | None
    disk: Disk | None
    readings: Readings


@dataclass(frozen=True)
class SiteParts:
    """What is read of a site.

    Args:
        folder: Where it keeps its files.
        config: The site file.
        activity: What it did.
        budgets: What is spent and left.
        bundles: App bundles that wait for approval.
        log: How it stands to the hub's log.
        ends: When certificate and membership end.
        processes: What the supervisor keeps running.
        disk: Where the folder lies.
        clock: Unix time in seconds.
    """

    folder: SiteFolder
    config: SiteConfig
    activity: Part[Activity]
    budgets: Part[tuple[BudgetLeft, ...]]
    bundles: Part[int]
    log: Part[LogStanding]
    ends: Part[Mapping[tuple[str, str], float]]
    processes: Part[tuple[Process, ...]]
    disk: Part[Disk]
    clock: Callable[[], float] = field(default=time.time)

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts are called."""
        before = (self.activity, self.budgets, self.bundles, self.log)
        parts = (*before, self.ends, self.processes, self.disk)
        return tuple(part.name for part in parts)

    @classmethod
    def of(cls, folder: SiteFolder, clock: Callable[[], float] = time.time) -> "SiteParts":
        """Return the parts of a site's folder.

        Raises:
            ConfigError: If the site file is missing or wrong.
        """
        config = SiteConfig.read(folder.config)
        tasks = [dataset.task for dataset in config.dataset]
        return cls(
            folder,
            config,
            Part("activity", ActivityReader(SiteState(config.state), tasks).read),
            Part("budgets", BudgetReader(folder.config, clock).read),
            Part("bundles", lambda: _n_bundles(folder.waiting_bundles)),
            Part("log", lambda: LogStanding.of(config)),
            Part("certificates", lambda: _ends(folder, config.hub)),
            Part("processes", lambda: read_processes(folder.supervisor_status)),
            Part("disk", lambda: Disk.of(folder.path)),
            clock,
        )

    def read(self) -> SiteReading:
        """Return what can be read now."""
        readings, now = Readings(), self.clock()
        return SiteReading(
            now,
            self.config.name,
            self.config.hub,
            readings.of(self.activity),
            readings.of(self.budgets),
            read_link(self.folder.link_status, now),
            readings.of(self.bundles),
            readings.of(self.log),
            readings.of(self.ends),
            readings.of(self.processes),
            readings.of(self.disk),
            readings,
        )


def _n_bundles(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.fab"))


def _ends(folder: SiteFolder, hub: HubConnection | None) -> dict[tuple[str, str], float]:
    """Return when certificate and membership end; the hub hands the membership out with the first job."""
    if hub is None:
        return {}
    ends = {("certificate", "ca"): ends_at(hub.ca_certificate)}
    if folder.membership.exists():
        data = read_file(folder.membership, "membership")
        membership = Membership.from_bytes(data, hub.public_key)
        ends["membership", membership.site] = float(membership.valid_until)
    return ends
