"""Changing the key by which Flower knows a site's node.

Only this key can change. The identity key signs the ledger's chain of entries and every fingerprint that
others hold: under another key none of them could be verified any more. A site whose identity key was lost or
seen by others is revoked by the operator, and enrols anew in a new folder, with a new ledger.
"""

from federation.comparison import Compared
from federation.enrolment import Rotation
from federation.errors import EnrolmentError
from federation.files import create_atomically, read_file, remove_durably, write_atomically
from federation.node_key import new_node_key, public_text, read_node_key
from site_agent.deployed_site import DeployedSite
from site_agent.membership import kept_membership


def rotate_node_key(site: DeployedSite, now: float) -> Compared:
    """Make a new node key and write the wish to use it; the present key is used until the hub agrees.

    Repeating it writes the wish again for the same new key.

    Args:
        site: The site.
        now: Unix time in seconds.

    Returns:
        What to compare by telephone.

    Raises:
        EnrolmentError: If the site is no member.
        StoreError: If a file cannot be read or written.
    """
    kept = kept_membership(site)
    if kept is None or not kept.is_current(now):
        raise EnrolmentError(
            f"{site.name} has no membership under which its node key could change",
            remedy="accept the membership that the operator sent: fedprint site accept FILE",
        )
    previous = read_node_key(read_file(site.folder.node_key, "node key"))
    if not site.folder.next_node_key.exists():
        create_atomically(site.folder.next_node_key, new_node_key())
    key = read_node_key(read_file(site.folder.next_node_key, "new node key"))
    wish = Rotation(
        site.name,
        site.hub.consortium,
        site.hub.public_key,
        site.ca_sha256,
        site.identity.public_key,
        public_text(key),
        int(now),
        kept.serial,
    ).signed(site.identity, key, previous)
    write_atomically(site.folder.rotation(site.name), wish.to_bytes())
    return wish.compared


def abort_rotation(site: DeployedSite) -> bool:
    """Forget a new node key that the hub has not agreed to; return whether there was one.

    Raises:
        StoreError: If it cannot be removed.
    """
    waited = site.folder.next_node_key.exists()
    remove_durably(site.folder.rotation(site.name))
    remove_durably(site.folder.next_node_key)
    return waited
