"""Invitations: what a hub keeps of those that are open, and whether an answer fits one."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from aggregator.members import Standing, list_members
from aggregator.operated_hub import OperatedHub
from federation.canonical import canonical_json
from federation.errors import EnrolmentError, FedprintError
from federation.files import read_file, write_atomically
from federation.invitation import DAYS_VALID, Invitation, encode_space, is_token, token_hash
from federation.names import check_name
from federation.space import Space

_DAY = 86_400


@dataclass(frozen=True)
class KeptInvitation:
    """What a hub keeps of an invitation; its token cannot be told from it.

    Args:
        site: The site.
        token: Hash of the one-time token.
        issued: Unix time in whole seconds.
        expires: Unix time in whole seconds.
        used: Serial of the membership that it led to; 0: it is open.
    """

    site: str
    token: str
    issued: int
    expires: int
    used: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what was kept.

        Raises:
            EnrolmentError: If the file is damaged.
            StoreError: If it cannot be read.
        """
        try:
            return cls(**json.loads(read_file(path, "invitation")))
        except (ValueError, TypeError) as error:
            raise EnrolmentError(
                f"{path} is damaged", remedy="remove it and invite the site again"
            ) from error

    def write(self, path: Path) -> None:
        """Keep it."""
        write_atomically(path, canonical_json(asdict(self)) + b"\n")

    def is_open(self, now: float) -> bool:
        """Return whether it can still be answered."""
        return not self.used and now < self.expires


def place(hub: OperatedHub, site: str) -> Path:
    """Return where the hub keeps a site's invitation."""
    return hub.folder.invitations / f"{site}.json"


def open_invitations(folder: Path, now: float) -> dict[str, int]:
    """Return the sites whose invitation can still be answered, and the Unix time at which it expires.

    Args:
        folder: The hub's invitations.
        now: Unix time in seconds.
    """
    kept = [KeptInvitation.read(path) for path in sorted(folder.glob("[!.]*.json"))]
    return {each.site: each.expires for each in kept if each.is_open(now)}


def invite(
    hub: OperatedHub, site: str, bundle: str, now: float, *, days: int = DAYS_VALID, again: bool = False
) -> Invitation:
    """Invite a site.

    Args:
        hub: The hub.
        site: Name under which alone it may enrol.
        bundle: SHA-256 of the app bundle that the hub runs.
        now: Unix time in seconds.
        days: Days after which it is refused.
        again: Whether an open invitation is replaced; its token is void then.

    Raises:
        ConfigError: If the name is not allowed.
        EnrolmentError: If the site is a member, was invited already or has a cohort's name.
        StoreError: If the hub's space is missing.
    """
    check_name("site", site)
    space = _space(hub)
    with hub.deciding():
        _check_free(hub, site, now, again=again)
        token = secrets.token_hex(32)
        issued, expires = int(now), int(now) + days * _DAY
        hub.record("invited", site, expires=expires)
        KeptInvitation(site, token_hash(token), issued, expires).write(place(hub, site))
    return Invitation(
        site,
        hub.config.consortium,
        hub.config.serve.address,
        hub.ca_certificate.decode("ascii"),
        hub.identity.public_key,
        Space.from_bytes(space).space_id,
        encode_space(space),
        bundle,
        token,
        issued,
        expires,
    ).signed(hub.identity)


def answered(hub: OperatedHub, site: str, token: str, now: float) -> KeptInvitation:
    """Return the open invitation of a site that a token answers.

    Raises:
        EnrolmentError: If there is none, it was used, or it has expired.
    """
    kept = find(hub, site)
    if kept is None or not is_token(token, kept.token):
        raise EnrolmentError(
            f"no invitation of {site} has the token of this enrolment",
            remedy="it answers an older invitation, or one of another site: `fedprint hub invite` again",
        )
    if kept.used:
        raise EnrolmentError(
            f"the invitation of {site} was used already, for membership {kept.used}",
            remedy="if that was not the hospital, `fedprint hub revoke` it; then invite the site anew",
        )
    if now >= kept.expires:
        raise EnrolmentError(
            f"the invitation of {site} has expired", remedy=f"run `fedprint hub invite {site} --again`"
        )
    return kept


def find(hub: OperatedHub, site: str) -> KeptInvitation | None:
    """Return what the hub keeps of a site's latest invitation."""
    path = place(hub, site)
    return KeptInvitation.read(path) if path.exists() else None


def mark_used(hub: OperatedHub, kept: KeptInvitation, serial: int) -> None:
    """Let an invitation be answered no more."""
    replace(kept, used=serial).write(place(hub, kept.site))


def _space(hub: OperatedHub) -> bytes:
    try:
        return read_file(hub.config.space, "space")
    except FedprintError as error:
        raise EnrolmentError(
            f"the hub has no space {hub.config.space} yet, which invitations carry",
            remedy="put the consortium's space there; `fedprint space` builds one",
        ) from error


def _check_free(hub: OperatedHub, site: str, now: float, *, again: bool) -> None:
    if site in {cohort.name for cohort in hub.config.cohort}:
        raise EnrolmentError(f"{site} is the name of a cohort", remedy="choose another name for the site")
    members = list_members(hub.members.folder, hub.identity.public_key, now)
    if any(m.site == site and m.standing is Standing.VALID for m in members):
        raise EnrolmentError(
            f"{site} is a member",
            remedy="a new node key needs no invitation (`fedprint site rotate-keys`); "
            "to enrol it anew, `fedprint hub revoke` it first",
        )
    kept = None if again else find(hub, site)
    if kept is not None and kept.is_open(now):
        raise EnrolmentError(
            f"{site} has an open invitation", remedy="use that one, or replace it with --again"
        )
