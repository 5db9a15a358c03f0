"""A hospital's answer to an invitation: keys that never leave, the site's files, and an enrolment."""

import re
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from federation.comparison import Compared
from federation.enrolment import Enrolment
from federation.errors import ConfigError, FedprintError
from federation.files import create_atomically, make_private, read_file, write_atomically
from federation.identity import Identity
from federation.invitation import Invitation
from federation.node_key import new_node_key, public_text, read_node_key
from site_agent.beginning import template_text
from site_agent.deployed_site import connection_of
from site_agent.policy import POLICY_FILE
from site_agent.serve_config import HubConnection
from site_agent.site_folder import SiteFolder
from site_agent.state import SiteState

_BEFORE_HUB = "# One [[dataset]] per task"
_NO_KEY = re.compile(r"^public_keys = \[\].*$", re.MULTILINE)
_NO_SPACE = re.compile(r"^spaces = \[\].*$", re.MULTILINE)


@dataclass(frozen=True)
class Joined:
    """What a site is after answering.

    Args:
        invitation: What it answered.
        enrolment: File to send to the operator.
        compared: What to compare by telephone.
    """

    invitation: Invitation
    enrolment: Path
    compared: Compared


def join(folder: SiteFolder, invitation: Invitation, now: float) -> Joined:
    """Make a site's keys and files, or what is still missing, and write its enrolment.

    Keys, policy and site file that are there stay as they are.

    Args:
        folder: Where the site keeps its files.
        invitation: The hub's invitation.
        now: Unix time in seconds.

    Raises:
        ConfigError: If the folder is that of another site or hub.
        EnrolmentError: If the invitation has expired.
        StoreError: If a file cannot be read or written.
    """
    invitation.check_time(now)
    _check_folder(folder, invitation)
    _make_folders(folder)
    identity = Identity.load_or_create(invitation.site, SiteState(folder.state).key_path)
    _put_node_key(folder)
    write_atomically(folder.ca_certificate, invitation.ca_certificate.encode())
    write_atomically(folder.space, invitation.space_file)
    write_atomically(folder.invitation, invitation.to_bytes())
    create_atomically(folder.policy, _policy_text(invitation).encode())
    enrolment = _enrolment(folder, invitation, identity, now)
    create_atomically(folder.config, _site_text(invitation).encode())
    return Joined(invitation, folder.enrolment(invitation.site), enrolment.compared)


def _make_folders(folder: SiteFolder) -> None:
    """Make the site's folders; a site folder that is there already stays as open as its owner made it."""
    own = () if folder.path.exists() else (folder.path,)
    for private in (*own, folder.state, folder.invitation.parent, folder.approved_bundles.parent):
        make_private(private)


def _put_node_key(folder: SiteFolder) -> None:
    if not folder.node_key.exists():
        create_atomically(folder.node_key, new_node_key())


def _check_folder(folder: SiteFolder, invitation: Invitation) -> None:
    if not folder.config.exists():
        _check_begun(folder, invitation)
        return
    name, hub = connection_of(folder.config)
    if name != invitation.site:
        raise ConfigError(
            f"{folder.config} is that of site {name}, the invitation is for {invitation.site}",
            remedy="choose another folder with --folder, or ask for an invitation under that name",
        )
    if hub is None:
        raise ConfigError(
            f"{folder.config} names no hub yet",
            remedy="if it is to join this one, add these lines before its first [[dataset]] and repeat:\n"
            + _hub_table(invitation),
        )
    if (hub.consortium, hub.public_key) != (invitation.consortium, invitation.hub_key):
        raise ConfigError(
            f"{folder.path} belongs to {hub.consortium}, whose hub has the key {hub.public_key[:12]}…",
            remedy="a site serves one hub: choose another folder with --folder",
        )


def _check_begun(folder: SiteFolder, invitation: Invitation) -> None:
    """Raise where a half-finished answer to another invitation has left files that would stay."""
    if not folder.invitation.exists():
        return
    begun = Invitation.from_bytes(read_file(folder.invitation, "invitation"))
    if (begun.hub_key, begun.site) != (invitation.hub_key, invitation.site):
        raise ConfigError(
            f"{folder.path} holds a half-finished answer of {begun.site} to {begun.consortium}",
            remedy="choose another folder with --folder, or remove that one",
        )


def _enrolment(folder: SiteFolder, invitation: Invitation, identity: Identity, now: float) -> Enrolment:
    """Return the site's answer; the one that was written for the same invitation and keys stays."""
    key = read_node_key(read_file(folder.node_key, "node key"))
    fresh = Enrolment(
        invitation.site,
        invitation.consortium,
        invitation.hub_key,
        invitation.ca_sha256,
        identity.public_key,
        public_text(key),
        int(now),
        invitation.token,
    )
    path = folder.enrolment(invitation.site)
    before = _written(path)
    if before is not None and (before.compared, before.token) == (fresh.compared, fresh.token):
        return before
    signed = fresh.signed(identity, key)
    write_atomically(path, signed.to_bytes())
    return signed


def _written(path: Path) -> Enrolment | None:
    try:
        return Enrolment.from_bytes(path.read_bytes()) if path.exists() else None
    except (FedprintError, OSError):
        return None


def _hub_table(invitation: Invitation) -> str:
    connection = HubConnection(
        address=invitation.address, consortium=invitation.consortium, public_key=invitation.hub_key
    )
    return tomli_w.dumps({"hub": connection.model_dump(mode="json")})


def _site_text(invitation: Invitation) -> str:
    text = template_text("site.toml", invitation.site)
    head, mark, tail = text.partition(_BEFORE_HUB)
    hub = "# The hub, as its invitation named it.\n" + _hub_table(invitation)
    return f"{head}{hub}\n# FILL IN your datasets.\n{mark}{tail}"


def _policy_text(invitation: Invitation) -> str:
    text = template_text(POLICY_FILE, invitation.site)
    keys = f'public_keys = ["{invitation.hub_key}"]  # of {invitation.consortium}, from its invitation'
    text = _NO_KEY.sub(lambda _: keys, text, count=1)
    spaces = f'spaces = ["{invitation.space_id}"]  # the space in hub/space.safetensors; or "any"'
    return _NO_SPACE.sub(lambda _: spaces, text)
