"""The members folder: who belongs to the consortium, as signed files that need no database.

``NAME.json`` is a site's membership, ``revoked/NAME.json`` what ended it, ``issued/NAME/SERIAL.json`` every
membership that the site ever had.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from federation.errors import EnrolmentError, FedprintError
from federation.files import read_file
from federation.membership import Membership, Revocation

log = logging.getLogger(__name__)

_SUFFIX = ".json"


class Standing(StrEnum):
    """What a membership counts for at a moment."""

    VALID = "valid"
    EXPIRED = "expired"
    NOT_YET = "not yet valid"
    REVOKED = "revoked"
    UNUSABLE = "unusable"


@dataclass(frozen=True)
class Member:
    """A site of the members folder.

    Args:
        site: Its name, that of the file.
        standing: What its membership counts for.
        membership: The membership; None where the file cannot be used.
        because: Why it does not count, for people; empty where it does.
    """

    site: str
    standing: Standing
    membership: Membership | None
    because: str = ""


@dataclass(frozen=True)
class MemberFiles:
    """Where the files of members lie.

    Args:
        folder: The members folder.
    """

    folder: Path

    def membership(self, site: str) -> Path:
        """A site's latest membership."""
        return self.folder / f"{site}{_SUFFIX}"

    def revocation(self, site: str) -> Path:
        """What ended a site's memberships."""
        return self.folder / "revoked" / f"{site}{_SUFFIX}"

    def issued(self, site: str, serial: int) -> Path:
        """A membership that a site was given, kept for good."""
        return self.folder / "issued" / site / f"{serial}{_SUFFIX}"

    def sites(self) -> list[str]:
        """Return the names of all sites that have or had a membership, sorted."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in self.folder.glob(f"[!.]*{_SUFFIX}"))


def read_members(folder: Path, hub_key: str, now: float) -> dict[str, Membership]:
    """Return the members whose membership counts now.

    Args:
        folder: The members folder; one that does not exist has no members.
        hub_key: The hub's Ed25519 key, 64 hexadecimal digits.
        now: Unix time in seconds.

    Returns:
        Site → membership. Expired, revoked and forged ones are left out, the last with a warning in the log.
    """
    members = {}
    for member in list_members(folder, hub_key, now):
        if member.membership is not None and member.standing is Standing.VALID:
            members[member.site] = member.membership
        elif member.standing is Standing.UNUSABLE:
            log.warning("member %s is left out: %s", member.site, member.because)
    return members


def list_members(folder: Path, hub_key: str, now: float) -> Iterator[Member]:
    """Yield everybody who has or had a membership, by name; arguments as of ``read_members``."""
    files = MemberFiles(folder)
    for site in files.sites():
        try:
            membership = read_membership(files, site, hub_key)
        except FedprintError as error:
            yield Member(site, Standing.UNUSABLE, None, str(error))
        else:
            yield _judged(files, membership, hub_key, now)


def read_membership(files: MemberFiles, site: str, hub_key: str) -> Membership:
    """Return a site's latest membership, whatever it counts for.

    Raises:
        EnrolmentError: If the file is malformed or about another site.
        SignatureError: If the hub did not sign it.
        StoreError: If it cannot be read.
    """
    path = files.membership(site)
    membership = Membership.from_bytes(read_file(path, "membership"), hub_key)
    if membership.site != site:
        raise EnrolmentError(f"{path} is the membership of {membership.site}", remedy="remove the file")
    return membership


def known_serials(files: MemberFiles, site: str, hub_key: str) -> Iterator[int]:
    """Yield the serials of a site's latest membership and of its revocation, where they can be read."""
    with suppress(FedprintError):
        yield read_membership(files, site, hub_key).serial
    with suppress(FedprintError):
        yield Revocation.from_bytes(read_file(files.revocation(site), "revocation"), hub_key).serial


def _judged(files: MemberFiles, membership: Membership, hub_key: str, now: float) -> Member:
    revoked = _why_revoked(files, membership, hub_key)
    if revoked:
        return Member(membership.site, Standing.REVOKED, membership, revoked)
    if now < membership.valid_from:
        return Member(membership.site, Standing.NOT_YET, membership, "its time has not come")
    if not membership.is_current(now):
        return Member(membership.site, Standing.EXPIRED, membership, "its time is over")
    return Member(membership.site, Standing.VALID, membership)


def _why_revoked(files: MemberFiles, membership: Membership, hub_key: str) -> str:
    """Return why a membership is void; a revocation that cannot be read revokes, or damage would readmit."""
    path = files.revocation(membership.site)
    if not path.exists():
        return ""
    try:
        revocation = Revocation.from_bytes(read_file(path, "revocation"), hub_key)
    except FedprintError as error:
        return f"its revocation cannot be read: {error}"
    if revocation.site != membership.site:
        return f"its revocation is that of {revocation.site}"
    return revocation.because if membership.serial <= revocation.serial else ""
