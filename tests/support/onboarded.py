"""A hub and sites that were let in by files, for tests."""

from dataclasses import dataclass
from pathlib import Path

from factories import make_space
from sqlalchemy import select

from aggregator.enrolling import approve, examine
from aggregator.founding import Founding, found_hub
from aggregator.invitations import invite
from aggregator.members import read_members
from aggregator.operated_hub import OperatedHub
from aggregator.schema import event
from aggregator.store import Catalogue
from federation.app_bundle import bundle_hash
from federation.files import write_atomically
from federation.invitation import Invitation
from federation.membership import Membership
from site_agent.deployed_site import DeployedSite
from site_agent.joining import Joined, join
from site_agent.membership import accept
from site_agent.site_folder import SiteFolder

DAY = 86_400
NOW = 1_800_000_000.0


def founded(folder: Path, *, address: str = "localhost:8443", consortium: str = "Hearts") -> OperatedHub:
    """Return a new hub with a space."""
    space = folder.parent / f"{folder.name}.safetensors"
    write_atomically(space, make_space().to_bytes())
    found_hub(folder, Founding(consortium, address, space))
    return OperatedHub.open(folder)


@dataclass(frozen=True)
class Guests:
    """Invites sites and answers for them.

    Args:
        hub: The hub.
        home: Where sites keep their folders.
    """

    hub: OperatedHub
    home: Path

    def invited(self, site: str = "anna", now: float = NOW, *, again: bool = False) -> Invitation:
        """Return an invitation as the site reads it."""
        return Invitation.from_bytes(invite(self.hub, site, bundle_hash(), now, again=again).to_bytes())

    def joined(self, invitation: Invitation, now: float = NOW) -> Joined:
        """Return a site's answer."""
        return join(SiteFolder(self.home / invitation.site), invitation, now)

    def site(self, name: str = "anna") -> DeployedSite:
        """Return a site as its IT opens it."""
        return DeployedSite.open(self.home / name)

    def approved(self, enrolment: Path, now: float = NOW) -> Membership:
        """Return the membership after comparing numbers."""
        candidate = examine(self.hub, enrolment.read_bytes(), now)
        return approve(self.hub, candidate, candidate.compared.number, now)

    def member(self, name: str = "anna", now: float = NOW) -> Membership:
        """Return a membership after the whole way, which the site has accepted."""
        joined = self.joined(self.invited(name, now), now)
        membership = self.approved(joined.enrolment, now)
        return accept(self.site(name), membership.to_bytes(), now)


def members(guests: Guests, now: float = NOW) -> dict[str, Membership]:
    """Return who belongs to the consortium."""
    return read_members(guests.hub.members.folder, guests.hub.identity.public_key, now)


def events(guests: Guests) -> list[str]:
    """Return the kinds of what was logged, oldest first."""
    with Catalogue(guests.hub.config.catalogue).transaction() as connection:
        return [row.kind for row in connection.execute(select(event).order_by(event.c.leaf_index))]
