"""Letting a site in: what an enrolment or a new node key must fit, and the membership that it leads to."""

from dataclasses import dataclass

from aggregator.invitations import KeptInvitation, answered, find, mark_used
from aggregator.members import Member, Standing, known_serials, list_members
from aggregator.operated_hub import OperatedHub
from federation.comparison import Compared
from federation.enrolment import Enrolment, Rotation, is_rotation
from federation.errors import EnrolmentError
from federation.files import write_atomically
from federation.invitation import is_token
from federation.membership import Membership

DAYS_VALID = 365
_DAY = 86_400
_CLOCK_S = 300
"""A site whose clock is slow must not find its membership in its future."""


@dataclass(frozen=True)
class Candidate:
    """A request that fits, and waits for a person's word.

    Args:
        request: What the site sent, its signatures verified.
        compared: What hub and site compare by telephone.
        serial: Serial that its membership will have.
        invitation: The invitation that it answers; None for a new node key.
        before: The site's membership until now, which a new one replaces.
        done: The membership, where the same request was approved before.
    """

    request: Enrolment | Rotation
    compared: Compared
    serial: int
    invitation: KeptInvitation | None
    before: Membership | None
    done: Membership | None = None


def examine(hub: OperatedHub, data: bytes, now: float) -> Candidate:
    """Read an enrolment or a rotation and check it against everything that the hub knows.

    Args:
        hub: The hub.
        data: The file.
        now: Unix time in seconds.

    Raises:
        EnrolmentError: If it does not fit.
        SignatureError: If it was altered or its sender holds other keys.
    """
    return _examined(hub, Rotation.from_bytes(data) if is_rotation(data) else Enrolment.from_bytes(data), now)


def _examined(hub: OperatedHub, request: Enrolment | Rotation, now: float) -> Candidate:
    _check_hub(hub, request)
    members = {m.site: m for m in list_members(hub.members.folder, hub.identity.public_key, now)}
    _check_keys(hub, request, members)
    if isinstance(request, Rotation):
        return _rotation(hub, request, members.get(request.site))
    return _enrolment(hub, request, members.get(request.site), now)


def approve(
    hub: OperatedHub, candidate: Candidate, number: str, now: float, days: int = DAYS_VALID
) -> Membership:
    """Let a site in, on a person's word that the number was the same at both ends.

    Args:
        hub: The hub.
        candidate: What was examined.
        number: The number as the hospital read it out, or as it was shown and confirmed.
        now: Unix time in seconds.
        days: Days that the membership lasts.

    Raises:
        EnrolmentError: If the number is another, or somebody else has decided in the meantime.
        StoreError: If it cannot be recorded or written; repeating it completes it.
    """
    if not candidate.compared.matches(number):
        raise EnrolmentError(
            f"the number that was read out is not that of {candidate.request.site}",
            remedy="hear it again; if it stays another, somebody exchanged a file on its way: do not "
            "approve, and invite the site again over another way",
        )
    with hub.deciding():
        _check_unchanged(hub, candidate, now)
        membership = candidate.done or _issue(hub, candidate, now, days)
        if candidate.invitation is not None and not candidate.invitation.used:
            mark_used(hub, candidate.invitation, membership.serial)
    return membership


def _check_unchanged(hub: OperatedHub, candidate: Candidate, now: float) -> None:
    """Raise if anything was decided since: between looking and approving somebody telephones, for minutes."""
    if _examined(hub, candidate.request, now) != candidate:
        raise EnrolmentError(
            f"somebody decided about {candidate.request.site} in the meantime", remedy="run the command again"
        )


def next_serial(hub: OperatedHub, site: str) -> int:
    """Return the serial of a site's next membership, above all that were ever issued."""
    issued = hub.members.issued(site, 1).parent.glob("*.json")
    serials = [int(path.stem) for path in issued if path.stem.isdecimal()]
    return 1 + max([0, *serials, *known_serials(hub.members, site, hub.identity.public_key)])


def put(hub: OperatedHub, membership: Membership) -> None:
    """Put a membership in force."""
    data = membership.to_bytes()
    write_atomically(hub.members.issued(membership.site, membership.serial), data)
    write_atomically(hub.members.membership(membership.site), data)


def lasting(now: float, days: int) -> tuple[int, int]:
    """Return the first and the last moment of a membership that begins now."""
    return int(now) - _CLOCK_S, int(now) + days * _DAY


def _issue(hub: OperatedHub, candidate: Candidate, now: float, days: int) -> Membership:
    request = candidate.request
    keys = request.identity_key, request.node_key
    membership = Membership(
        request.site, hub.config.consortium, *keys, candidate.serial, *lasting(now, days)
    ).signed(hub.identity)
    kind = "rekeyed" if isinstance(request, Rotation) else "approved"
    hub.record(
        kind, request.site, serial=candidate.serial, number=candidate.compared.number, **_keys(membership)
    )
    put(hub, membership)
    return membership


def _keys(membership: Membership) -> dict[str, object]:
    return {
        "identity_key": membership.identity_key,
        "node_key": membership.node_key,
        "valid_until": membership.valid_until,
    }


def _check_hub(hub: OperatedHub, request: Enrolment | Rotation) -> None:
    if (request.hub_key, request.consortium) != (hub.identity.public_key, hub.config.consortium):
        raise EnrolmentError(
            f"{request.site} answers an invitation of another hub: {request.consortium}, key "
            f"{request.hub_key[:12]}…",
            remedy="if the hospital was meant to answer yours, its invitation was exchanged on the way: send "
            "it over another way",
        )
    if request.ca_sha256 != hub.ca_sha256:
        raise EnrolmentError(
            f"{request.site} holds another certificate authority than this hub's",
            remedy="its invitation was altered or is old: invite the site again",
        )


def _check_keys(hub: OperatedHub, request: Enrolment | Rotation, members: dict[str, Member]) -> None:
    if request.identity_key == hub.identity.public_key:
        raise EnrolmentError(
            "the enrolment names the hub's own key", remedy="make the site's keys at the site"
        )
    for other, member in members.items():
        known = member.membership
        if other == request.site or known is None:
            continue
        if request.identity_key == known.identity_key or request.node_key == known.node_key:
            raise EnrolmentError(
                f"{request.site} has a key of {other}",
                remedy="every site needs keys of its own: `fedprint site init` in a new folder makes them",
            )


def _enrolment(hub: OperatedHub, request: Enrolment, member: Member | None, now: float) -> Candidate:
    before = None if member is None else member.membership
    done = _approved_before(hub, request, member)
    if done is not None:
        return Candidate(request, request.compared, done.serial, find(hub, request.site), before, done)
    kept = answered(hub, request.site, request.token, now)
    if member is not None and member.standing is Standing.VALID:
        raise EnrolmentError(f"{request.site} is a member", remedy="`fedprint hub revoke` it first")
    return Candidate(request, request.compared, next_serial(hub, request.site), kept, before)


def _approved_before(hub: OperatedHub, request: Enrolment, member: Member | None) -> Membership | None:
    """Return the membership that the very same answer led to, so that a lost reply can be asked for again."""
    kept = find(hub, request.site)
    if kept is None or not is_token(request.token, kept.token):
        return None
    if member is None or member.membership is None or member.standing is not Standing.VALID:
        return None
    known = member.membership
    same = (known.identity_key, known.node_key) == (request.identity_key, request.node_key)
    return known if same and kept.used in (0, known.serial) else None


def _rotation(hub: OperatedHub, request: Rotation, member: Member | None) -> Candidate:
    if member is None or member.membership is None or member.standing is not Standing.VALID:
        raise EnrolmentError(
            f"{request.site} is no member whose node key could change",
            remedy="renew its membership first, or invite the site anew",
        )
    known = member.membership
    if request.identity_key != known.identity_key:
        raise EnrolmentError(
            f"{request.site} is known under another identity key",
            remedy="an identity key cannot change: revoke the site and invite it anew",
        )
    if request.node_key == known.node_key:
        return Candidate(request, request.compared, known.serial, None, known, known)
    if request.serial != known.serial:
        raise EnrolmentError(
            f"the new node key of {request.site} replaces that of membership {request.serial}, but "
            f"{known.serial} is in force",
            remedy="let the site accept its latest membership, then run `fedprint site rotate-keys` again",
        )
    request.verify_previous(known.node_key)
    return Candidate(request, request.compared, next_serial(hub, request.site), None, known)
