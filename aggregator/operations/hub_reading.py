"""Everything that is observed of a hub, read part by part."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.catalogue_place import CataloguePlace
from aggregator.config import HubConfig
from aggregator.hub_folder import HubFolder
from aggregator.invitations import open_invitations
from aggregator.members import Member, Standing, list_members
from aggregator.operations.catalogue_reading import CatalogueReading, read_catalogue
from aggregator.store import Catalogue
from federation.config_file import read_config
from federation.identity import Identity
from federation.operations.certificate import ends_at
from federation.operations.disk import Disk
from federation.operations.part import Part
from federation.operations.processes import Process, read_processes
from federation.operations.readings import Readings


@dataclass(frozen=True)
class HubReading:
    """A hub at a moment; a part that could not be read is None, and why is in the readings.

    Args:
        at: Unix time in seconds.
        consortium: Name of the consortium.
        catalogue: Jobs and fingerprints.
        members: Everybody who has or had a membership.
        invited: Sites whose invitation can still be answered.
        certificates: Name → when it ends, Unix time in seconds.
        processes: What the supervisor keeps running.
        disk: Where the folder lies.
        readings: What could not be read.
    """

    at: float
    consortium: str
    catalogue: CatalogueReading | None
    members: tuple[Member, ...] | None
    invited: tuple[str, ...] | None
    certificates: Mapping[str, float] | None
    processes: tuple[Process, ...] | None
    disk: Disk | None
    readings: Readings

    @property
    def ends(self) -> dict[tuple[str, str], float]:
        """Kind and name → when a certificate or a membership that was not revoked ends."""
        certificates = {("certificate", name): at for name, at in (self.certificates or {}).items()}
        memberships = {
            ("membership", member.site): float(member.membership.valid_until)
            for member in self.members or ()
            if member.membership is not None and member.standing is not Standing.REVOKED
        }
        return certificates | memberships


@dataclass(frozen=True)
class HubParts:
    """What is read of a hub.

    Args:
        folder: Where it keeps its files.
        consortium: Name of the consortium.
        catalogue: Jobs and fingerprints.
        members: Everybody who has or had a membership.
        invited: Sites whose invitation can still be answered.
        certificates: When certificates end.
        processes: What the supervisor keeps running.
        disk: Where the folder lies.
        clock: Unix time in seconds.
    """

    folder: HubFolder
    consortium: str
    catalogue: Part[CatalogueReading]
    members: Part[tuple[Member, ...]]
    invited: Part[tuple[str, ...]]
    certificates: Part[Mapping[str, float]]
    processes: Part[tuple[Process, ...]]
    disk: Part[Disk]
    clock: Callable[[], float] = field(default=time.time)

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts are called."""
        parts = (self.catalogue, self.members, self.invited, self.certificates, self.processes, self.disk)
        return tuple(part.name for part in parts)

    @classmethod
    def of(cls, folder: HubFolder, clock: Callable[[], float] = time.time) -> "HubParts":
        """Return the parts of a hub's folder.

        Raises:
            ConfigError: If the hub file is missing or wrong.
        """
        # Members and keys are parts of their own: the hub file must be readable when they are not.
        config = read_config(folder.config, HubConfig)
        base = folder.config.resolve().parent
        return cls(
            folder,
            config.consortium,
            Part("catalogue", lambda: _catalogue(config.catalogue.within(base))),
            Part("members", lambda: _members(base, config, clock())),
            Part("invitations", lambda: tuple(open_invitations(folder.invitations, clock()))),
            Part("certificates", lambda: _certificates(folder)),
            Part("processes", lambda: read_processes(folder.supervisor_status)),
            Part("disk", lambda: Disk.of(folder.path)),
            clock,
        )

    def read(self) -> HubReading:
        """Return what can be read now."""
        readings = Readings()
        return HubReading(
            self.clock(),
            self.consortium,
            readings.of(self.catalogue),
            readings.of(self.members),
            readings.of(self.invited),
            readings.of(self.certificates),
            readings.of(self.processes),
            readings.of(self.disk),
            readings,
        )


def _catalogue(place: CataloguePlace) -> CatalogueReading:
    catalogue = Catalogue(place)
    try:
        return read_catalogue(catalogue)
    finally:
        catalogue.close()


def _members(base: Path, config: HubConfig, now: float) -> tuple[Member, ...]:
    if config.members is None:
        return ()
    key = Identity.load(config.consortium, base / config.key).public_key
    return tuple(list_members(base / config.members, key, now))


def _certificates(folder: HubFolder) -> dict[str, float]:
    return {
        "server": ends_at(folder.server_certificate),
        "ca": ends_at(folder.ca_certificate),
    }
