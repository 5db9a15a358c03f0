"""Renewing and ending one site's membership without touching the others."""

from aggregator import invitations
from aggregator.enrolling import DAYS_VALID, lasting, next_serial, put
from aggregator.members import Member, Standing, list_members
from aggregator.operated_hub import OperatedHub
from federation.errors import EnrolmentError, UnknownNameError
from federation.files import remove_durably, write_atomically
from federation.membership import Membership, Revocation
from federation.signed_document import is_text


def renew(hub: OperatedHub, site: str, now: float, days: int = DAYS_VALID) -> Membership:
    """Give a site a new membership with the keys that it has.

    Args:
        hub: The hub.
        site: The site.
        now: Unix time in seconds.
        days: Days that it lasts.

    Raises:
        EnrolmentError: If its membership was revoked or cannot be read.
        StoreError: If it cannot be recorded or written.
        UnknownNameError: If there is no such site.
    """
    with hub.deciding():
        member = find_member(hub, site, now)
        if member.membership is None or member.standing is Standing.REVOKED:
            raise EnrolmentError(
                f"the membership of {site} cannot be renewed: {member.because}",
                remedy=f"run `fedprint hub invite {site}`; the site then enrols anew",
            )
        begins, ends = lasting(now, days)
        old = member.membership
        fresh = Membership(
            site, old.consortium, old.identity_key, old.node_key, next_serial(hub, site), begins, ends
        ).signed(hub.identity)
        hub.record("renewed", site, serial=fresh.serial, valid_until=ends)
        put(hub, fresh)
    return fresh


def revoke(hub: OperatedHub, site: str, because: str, now: float) -> Revocation:
    """End a site's membership for good, and withdraw its open invitation.

    It is out of the roster at the next job, and out of Flower as soon as ``fedprint hub serve`` looks.

    Args:
        hub: The hub.
        site: The site.
        because: Why; it is logged.
        now: Unix time in seconds.

    Raises:
        EnrolmentError: If no reason is given.
        StoreError: If it cannot be recorded or written.
        UnknownNameError: If there is no such site.
    """
    if not is_text(because):
        raise EnrolmentError("a revocation needs a reason", remedy='say it: --because "left the consortium"')
    with hub.deciding():
        find_member(hub, site, now)
        serial = next_serial(hub, site) - 1
        revocation = Revocation(site, hub.config.consortium, max(1, serial), int(now), because)
        signed = revocation.signed(hub.identity)
        hub.record("revoked", site, serial=signed.serial, because=because)
        write_atomically(hub.members.revocation(site), signed.to_bytes())
        remove_durably(invitations.place(hub, site))
    return signed


def find_member(hub: OperatedHub, site: str, now: float) -> Member:
    """Return a site of the members folder.

    Raises:
        UnknownNameError: If there is none of that name.
    """
    members = {m.site: m for m in list_members(hub.members.folder, hub.identity.public_key, now)}
    if site not in members:
        known = ", ".join(members) or "nobody yet"
        raise UnknownNameError(f"there is no member {site}", remedy=f"members are: {known}")
    return members[site]
