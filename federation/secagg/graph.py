"""Who shares masks and secrets with whom, and how many of them it takes to recover a secret.

Up to 100 members everybody does with everybody. Beyond, members stand on a ring in an order that a public
seed decides, each linked to degree/2 on either side (a Harary graph; Bell et al. 2020, "Secure Single-Server
Aggregation with (Poly)Logarithmic Overhead", CCS, section 3). Up to a fifth of all members may collude with
the aggregator, which also chooses whom it calls dropped out.

The threshold is such that threshold > degree/2 + 1 + c, where c colluders are within reach of an honest
member on one side, whichever member and side. The degree/2 on the other side, the member itself and those c
are then too few to recover a secret of the member: an honest survivor on this side must answer as well. So

* all honest survivors whose own masks are recovered are linked along the ring, and whatever the aggregator
  calls dropped, it opens no sum of some of them without the others;
* both sides added up, 2·threshold > holders + colluding holders: even if honest holders were told different
  lists of survivors, no two secrets of a member could both be recovered; nor do colluders recover one alone.

``threshold`` is the least number for which this fails for any member with probability at most 2^−80 over
the seed, which leaves 2^−40 to an aggregator that tries 2^40 seeds. ``degree`` is the least one for which,
with that threshold, a random twentieth of the members may drop out and every secret is recovered but with
probability 2^−30. All tails are hypergeometric and computed with integers.
"""

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import comb
from typing import Self

from federation.errors import RosterError, TermsError

MOST_COMPLETE = 100
"""Larger cohorts are linked on a ring."""

SEED_BYTES = 32

_COLLUDING_SHARE, _DROPPED_SHARE = 5, 20  # one in so many
_UNSAFE_BITS, _FAILING_BITS = 80, 30


@dataclass(frozen=True)
class Graph:
    """Members on a ring, linked within reach.

    Args:
        ring: Every member, in the order of the ring.
        reach: How far a member's neighbours are on either side.
        absent: Members that take no part; their places on the ring stay empty, since the aggregator may
            have chosen them: closing ranks would raise the share of colluders.
    """

    ring: tuple[str, ...]
    reach: int
    absent: frozenset[str] = frozenset()

    def of(self, name: str) -> tuple[str, ...]:
        """Return the neighbours of a member that take part, sorted by name.

        Raises:
            RosterError: If it takes no part itself.
        """
        if name not in self._position or name in self.absent:
            raise RosterError(f"{name} is not in the graph of the round", remedy="it does not take part")
        start = self._position[name] - self.reach
        around = (self.ring[i % len(self.ring)] for i in range(start, start + 2 * self.reach + 1))
        return tuple(sorted({*around} - self.absent - {name}))

    def among(self, names: Collection[str]) -> Self:
        """Return the graph in which only these members take part."""
        return replace(self, absent=frozenset(self.ring).difference(names))

    @cached_property
    def _position(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.ring)}


def neighbours(names: Sequence[str], degree: int, seed: bytes) -> Graph:
    """Return the graph of a round: the same at every site, for a seed nobody foresaw as if drawn at random.

    Args:
        names: All members, sorted.
        degree: Number of neighbours of each; as many as there are others, or an even number.
        seed: 32 bytes; members stand in the order of HMAC-SHA256 of their names under it.

    Raises:
        TermsError: If no such graph exists.
    """
    if len(seed) != SEED_BYTES:
        raise TermsError(f"the seed of a graph has {len(seed)} bytes, expected {SEED_BYTES}")
    _check_degree(len(names), degree)
    ring = sorted(names, key=lambda name: (hmac.digest(seed, name.encode(), "sha256"), name))
    return Graph(tuple(ring), reach=(degree + 1) // 2)


def degree(n: int) -> int:
    """Return how many neighbours a member of a cohort of n has."""
    return _degree(n)


@lru_cache
def _degree(n: int) -> int:
    if n <= MOST_COMPLETE:
        return n - 1
    return next((even for even in range(2, n - 1, 2) if _withstands_dropping(n, even)), n - 1)


@lru_cache
def threshold(n: int, degree: int | None = None) -> int:
    """Return how many shares must at least recover a secret of a member of a cohort of n.

    Args:
        n: Number of members.
        degree: Number of neighbours of each; None: as many as the rule has.

    Raises:
        TermsError: If no such graph exists.
    """
    linked = _degree(n) if degree is None else degree
    _check_degree(n, linked)
    if linked == n - 1:
        return minimum(n)
    return linked // 2 + _most_colluding_on_a_side(n, linked // 2) + 2


def minimum(n: int) -> int:
    """Return how many contributions a sum of a cohort of n must at least have: more than two thirds."""
    return 2 * n // 3 + 1


def most_colluders(n: int) -> int:
    """Return how many members of a cohort of n may work together with the aggregator."""
    return -(-n // 3) - 1 if n <= MOST_COMPLETE else n // _COLLUDING_SHARE


def _check_degree(n: int, degree: int) -> None:
    if not (degree == n - 1 or (0 < degree < n and degree % 2 == 0)):
        raise TermsError(f"the degree of {n} members is {degree}, expected {n - 1} or an even number below")


def _withstands_dropping(n: int, degree: int) -> bool:
    """Return whether enough holders of every member are left when some drop out at random."""
    holders, needed = degree + 1, threshold(n, degree)
    if needed > holders:
        return False
    dropped = -(-n // _DROPPED_SHARE)
    too_many = range(holders - needed + 1, holders + 1)
    return n * sum(_ways(n, dropped, holders, k) for k in too_many) << _FAILING_BITS <= comb(n, holders)


def _most_colluding_on_a_side(n: int, side: int) -> int:
    """Return how many colluders no side of any member exceeds, but with probability 2^−80."""
    ways, likely = 0, comb(n - 1, side) >> _UNSAFE_BITS
    for colluding in range(side, 0, -1):
        ways += 2 * n * _ways(n - 1, most_colluders(n), side, colluding)
        if ways > likely:
            return colluding
    return 0


def _ways(n: int, marked: int, drawn: int, hits: int) -> int:
    """Return how many draws from n, of which some are marked, have so many marked ones among them."""
    return comb(marked, hits) * comb(n - marked, drawn - hits)
