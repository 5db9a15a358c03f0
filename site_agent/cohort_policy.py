"""Which sites a site lets its sketches be summed with, and how many of them it distrusts."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from federation.errors import PolicyError, RosterError
from federation.secagg import graph
from federation.secagg.terms import Terms, roster_id

_DAY = 86_400.0
_LONGEST_ROUND = 14 * _DAY
_COMPARE = (
    "compare names, keys and roster ids by phone, then correct [cohort.{name}] in policy.toml if it is wrong"
)


@dataclass(frozen=True)
class CohortPolicy:
    """What the site's policy says about one cohort.

    Args:
        name: The cohort.
        members: Site → Ed25519 public key, 64 hexadecimal digits; the site itself among them.
        colluders: At least so many members are assumed to work together with the aggregator.
    """

    name: str
    members: Mapping[str, str]
    colluders: int

    @property
    def roster_id(self) -> str:
        """SHA-256 of members and keys, which operators compare by phone."""
        return roster_id(self.members)

    @property
    def minimum(self) -> int:
        """Fewer contributions are not opened."""
        return graph.minimum(len(self.members))

    def require_member(self, site: str, public_key: str) -> None:
        """Raise unless a site is a member under its own key.

        Raises:
            PolicyError: If it is not.
        """
        if self.members.get(site) != public_key:
            listed = self.members.get(site, "")
            found = f"lists {site} with the key {listed}" if listed else f"does not list {site}"
            raise PolicyError(
                f"cohort {self.name}: the policy {found}, expected this site with its own key {public_key}",
                remedy="every member lists all members, itself too; " + _COMPARE.format(name=self.name),
            )

    def require_terms(self, terms: Terms, site: str, public_key: str) -> None:
        """Raise unless a round is one of this cohort and assumes no less distrust.

        Args:
            terms: Those of the round.
            site: This site.
            public_key: Its own key.

        Raises:
            PolicyError: If the round is about another cohort, or bears fewer colluders than the policy says.
            RosterError: If others take part, or under other keys, than the policy names.
        """
        if terms.cohort != self.name:
            raise PolicyError(f"the round is about cohort {terms.cohort}, expected {self.name}")
        self.require_member(site, public_key)
        differing = sorted(
            member
            for member in {*terms.members, *self.members}
            if terms.members.get(member) != self.members.get(member)
        )
        if differing:
            raise RosterError(
                f"cohort {self.name}: the round has the roster {terms.roster_id[:12]}, the policy "
                f"{self.roster_id[:12]}; they differ in {', '.join(differing[:5])}",
                remedy=_COMPARE.format(name=self.name),
            )
        if terms.expires > time.time() + _LONGEST_ROUND:
            raise PolicyError(
                f"cohort {self.name}: the round would keep its secrets for more than "
                f"{_LONGEST_ROUND / _DAY:.0f} days",
                remedy="let the aggregator ask with a shorter timeout_s",
            )
        if terms.colluders < self.colluders:
            raise PolicyError(
                f"cohort {self.name}: the round bears {terms.colluders} colluding members, the policy asks "
                f"for {self.colluders}",
                remedy=f"let the aggregator ask with colluders = {self.colluders}, or trust the members more",
            )
