"""What an operator is shown before deciding about a site."""

from collections.abc import Iterator

from aggregator.enrolling import Candidate
from federation.enrolment import Rotation


def described(candidate: Candidate) -> Iterator[str]:
    """Yield the lines that an operator reads before approving."""
    request = candidate.request
    if candidate.done is not None:
        yield f"{request.site}: this was approved already, as membership {candidate.done.serial}"
        return
    wish = "wants to change its node key" if isinstance(request, Rotation) else "wants to become a member"
    yield f"{request.site} {wish} of {request.consortium}"
    yield f"  identity key  {request.identity_key}"
    yield f"  node key      {request.node_key.split()[1][-32:]} (its end)"
    yield from _changes(candidate)
    yield "telephone the hospital; both sides must see the same number:"
    yield f"  {candidate.compared.number}"


def _changes(candidate: Candidate) -> Iterator[str]:
    before = candidate.before
    if before is None:
        return
    if before.identity_key != candidate.request.identity_key:
        yield f"  ATTENTION: until membership {before.serial} its identity key was {before.identity_key}"
    if before.node_key != candidate.request.node_key:
        yield f"  its node key of membership {before.serial} is void from then on"
