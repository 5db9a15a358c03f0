"""What a site adds to a sum: prepared before the site agrees to take part, handed over when it is masked.

Every purpose of a round has a kind of contribution; what runs a round knows nothing of what is summed.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from federation.messages import JobHeader
from federation.secagg.messages import Survivors
from federation.secagg.terms import Terms
from federation.sketches.base import IntVector
from federation.space import Space
from site_agent.jobs import Site
from site_agent.ledger.budget import Budget, Charge
from site_agent.policy import Policy


@dataclass(frozen=True)
class Asked:
    """What a site is asked to add to.

    Args:
        site: The site.
        policy: Its rules, as they are now.
        job: Who asks, under which job.
        terms: What the round is about.
        space: The space that came with the terms; None in later steps, and where no sketches are summed.
    """

    site: Site
    policy: Policy
    job: JobHeader
    terms: Terms
    space: Space | None = None


@dataclass(frozen=True)
class Prepared:
    """What a site holds ready from the beginning of a round until it is masked; it never leaves as it is.

    Args:
        values: int64 [length], before noise.
        charge: What it will cost; None where nothing pays for it.
        about: What else the contribution needs when it is masked, as canonical JSON can hold it.
    """

    values: IntVector = field(repr=False)
    charge: Charge | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


class Contribution(ABC):
    """What a site would add to one round."""

    @property
    @abstractmethod
    def task(self) -> str:
        """The site's own task that it is made from."""

    @abstractmethod
    def require(self) -> None:
        """Raise unless the site's rules allow it, without a look at the data; asked in every step.

        Raises:
            PolicyError: If they do not.
            TermsError: If the terms are not those of such a contribution.
        """

    def require_unpaid(self) -> None:  # noqa: B027
        """Raise ReplayError if the round was paid for although nothing is known of it: its state was lost.

        Beginning it again would draw noise anew for a price that was paid once.
        """

    @abstractmethod
    def prepare(self) -> Prepared:
        """Do all the work, before anybody has paid anything; asked once, when a round begins.

        Raises:
            BudgetError: If no budget would pay for it.
            NotReleasableError: If something about the data stands against it.
            PolicyError: If the site's rules do not allow it.
        """

    @abstractmethod
    def vector(self, prepared: Prepared) -> IntVector:
        """Return int64 [length] to be masked, with whatever noise it needs; nobody has seen it yet.

        Raises:
            PolicyError: If the site's rules do not allow it.
        """

    @abstractmethod
    def budgets(self) -> tuple[Budget, ...]:
        """Return every budget that the charge draws on."""

    def confirm(self, survivors: Survivors) -> None:
        """Agree to who is in the sum, durably, before the site signs it; PolicyError if it does not.

        Args:
            survivors: Who is, and who dropped out.
        """
        del survivors
