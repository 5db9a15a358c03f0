"""What both sides of a round demand of what they are told, before anything is made of it."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from federation.errors import CohortTooSmallError, RosterError, VectorError
from federation.identity import verify
from federation.secagg import graph, keys
from federation.secagg.messages import Advertisement, Directory
from federation.secagg.terms import Terms
from federation.threads import for_each

_BATCH = 16


def check_advertisement(terms: Terms, site: str, advertisement: Advertisement) -> None:
    """Raise unless a site signed its keys together with the terms.

    Raises:
        RosterError: If it is no member.
        SignatureError: If it did not.
    """
    if site not in terms.members:
        raise RosterError(f"{site} is no member of cohort {terms.cohort}", remedy="enrol it first")
    message = keys.advertised(terms, site, keys.signed_keys(advertisement))
    verify(terms.members[site], advertisement.signature, message, f"the keys of {site} for this round")


def check_directory(terms: Terms, directory: Directory) -> None:
    """Raise unless only members are listed, enough of them, and no two with the same key.

    Raises:
        RosterError: If not.
        CohortTooSmallError: If too few are listed.
    """
    listed = directory.advertisements
    strangers = sorted(set(listed) - set(terms.members))
    if strangers:
        raise RosterError(f"{strangers[0]} is no member of cohort {terms.cohort}")
    require_enough(len(listed), terms.minimum, "sites take part")
    for what in ("cipher_key", "mask_key", "commitment"):
        if len({getattr(advertisement, what) for advertisement in listed.values()}) != len(listed):
            raise RosterError(f"two sites advertise the same {what.replace('_', ' ')}")


def check_confirmation(terms: Terms, site: str, signature: bytes, message: bytes) -> None:
    """Raise unless a member signed the survivors.

    Args:
        terms: What the round is about.
        site: The member.
        signature: 64 bytes.
        message: What ``keys.confirmed`` returned.

    Raises:
        SignatureError: If it did not.
    """
    verify(terms.members[site], signature, message, f"the survivors that {site} confirmed")


def check_each(sites: Sequence[str], check: Callable[[str], None]) -> None:
    """Check every one of some sites; many of them on all cores, in batches that are worth a thread.

    Args:
        sites: Who.
        check: Raises if something is wrong with a site.
    """

    def check_batch(batch: Sequence[str]) -> None:
        for site in batch:
            check(site)

    for_each([sites[i : i + _BATCH] for i in range(0, len(sites), _BATCH)], check_batch)


def check_values(terms: Terms, values: npt.NDArray[np.int64]) -> None:
    """Raise unless a vector is what the terms allow, so that the sum cannot overflow.

    Raises:
        VectorError: Naming length or size, never a value.
    """
    if values.shape != (terms.length,) or values.dtype != np.int64:
        raise VectorError(
            f"a contribution is {values.dtype} {list(values.shape)}, expected int64 [{terms.length}]"
        )
    if values.size and not -terms.bound <= int(values.min()) <= int(values.max()) <= terms.bound:
        raise VectorError(
            f"a contribution holds a number beyond the bound of {terms.bound:,}: the sum could overflow",
            remedy="raise the most patients of the cohort",
        )


def circle_of(terms: Terms, directory: Directory, session: bytes) -> graph.Graph:
    """Return who is whose neighbour in a session."""
    everybody = graph.neighbours(sorted(terms.members), terms.degree, session)
    return everybody.among(directory.advertisements)


def sign(site: str, peer: str) -> Literal[1, -1]:
    """Return the sign with which a site adds the mask that it shares with another: they cancel."""
    return 1 if site < peer else -1


def require_enough(found: int, needed: int, what: str) -> None:
    """Raise CohortTooSmallError unless enough sites did something.

    Args:
        found: How many.
        needed: How many at least.
        what: ``"sites …"``, what they did.
    """
    if found < needed:
        raise CohortTooSmallError(
            f"{found} {what}, expected at least {needed}",
            remedy="start another round when more can take part",
        )
