"""The site's own copy of its membership, and the node key that goes with it."""

from federation.errors import EnrolmentError
from federation.files import read_file, remove_durably, write_atomically
from federation.membership import Membership
from federation.node_key import public_text, read_node_key
from site_agent.deployed_site import DeployedSite


def kept_membership(site: DeployedSite) -> Membership | None:
    """Return the membership that the hub sent last; None where it has sent none.

    Raises:
        EnrolmentError: If the file is malformed.
        SignatureError: If the hub did not sign it.
        StoreError: If it cannot be read.
    """
    path = site.folder.membership
    if not path.exists():
        return None
    return Membership.from_bytes(read_file(path, "membership"), site.hub.public_key)


def accept(site: DeployedSite, data: bytes, now: float) -> Membership:
    """Keep a membership that the hub sent; a node key that waited for it takes its place.

    Args:
        site: The site.
        data: The membership's file.
        now: Unix time in seconds.

    Raises:
        EnrolmentError: If it is malformed, over, older than the one that is kept, or about other keys.
        SignatureError: If the hub did not sign it.
        StoreError: If it cannot be written; repeating it completes it.
    """
    membership = Membership.from_bytes(data, site.hub.public_key)
    _check_whose(site, membership)
    _check_when(site, membership, now)
    _use_key(site, membership)
    write_atomically(site.folder.membership, membership.to_bytes())
    return membership


def _check_whose(site: DeployedSite, membership: Membership) -> None:
    stated = membership.site, membership.consortium, membership.identity_key
    if stated != (site.name, site.hub.consortium, site.identity.public_key):
        raise EnrolmentError(
            f"this is the membership of {membership.site} in {membership.consortium}, with the identity key "
            f"{membership.identity_key[:12]}…; here is {site.name} with {site.identity.public_key[:12]}…",
            remedy="ask the operator for the membership of this site",
        )


def _check_when(site: DeployedSite, membership: Membership, now: float) -> None:
    kept = kept_membership(site)
    if kept is not None and membership != kept and membership.serial <= kept.serial:
        raise EnrolmentError(
            f"this is membership {membership.serial}, but {kept.serial} is here already",
            remedy="ask the operator for the latest one",
        )
    if now < membership.valid_from:
        raise EnrolmentError("the membership begins in the future", remedy="set this machine's clock (NTP)")
    if now >= membership.valid_until:
        raise EnrolmentError("the membership is over", remedy="ask the operator to renew it")


def _use_key(site: DeployedSite, membership: Membership) -> None:
    """Put the node key in place that a membership names.

    Raises:
        EnrolmentError: If the site does not hold it.
    """
    present, waiting = site.folder.node_key, site.folder.next_node_key
    if _public(site, present.exists()) == membership.node_key:
        return
    if (
        not waiting.exists()
        or public_text(read_node_key(read_file(waiting, "node key"))) != membership.node_key
    ):
        raise EnrolmentError(
            "the membership names a node key that is not here",
            remedy="restore state/node.key from backup, or ask the operator to invite this site anew",
        )
    waiting.replace(present)
    remove_durably(site.folder.rotation(site.name))


def _public(site: DeployedSite, exists: bool) -> str:
    return public_text(read_node_key(read_file(site.folder.node_key, "node key"))) if exists else ""
