"""A site's update of a common training as its part of a sum under masks.

The sum is exact, so that what binds other exact sums binds it (``site_agent.rounds.exact_sums``): the site
adds the same numbers whenever it is asked for the same round of a group, and confirms the same survivors in
every sum of the task. Else an aggregator could train two groups that hardly differ, leave a site out of one
of them, and subtract.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from federation.errors import PolicyError, TermsError
from federation.secagg import graph
from federation.secagg.checks import check_values
from federation.secagg.messages import Survivors
from federation.sketches.base import IntVector
from federation.transfer.masked_update import MaskedUpdate
from site_agent.ledger.budget import Budget
from site_agent.policy import TaskPolicy
from site_agent.rounds.contribution import Asked, Contribution, Prepared
from site_agent.rounds.exact_sums import ExactSums
from site_agent.transfer.group_files import GroupFiles, Update


@dataclass(frozen=True)
class MaskedBackbone(Contribution):
    """How far the site moved the shared backbone in a round.

    Args:
        asked: What the site is asked.
        allowed: What its policy says about the task.
        purpose: What is summed.
    """

    asked: Asked
    allowed: TaskPolicy
    purpose: MaskedUpdate

    @classmethod
    def of(cls, asked: Asked) -> Self:
        """Return what the site would contribute.

        Raises:
            PolicyError: If the policy lets no task's updates be summed in the cohort, or the site trained no
                such round with it.
            TermsError: If the purpose of the round is malformed.
        """
        purpose = MaskedUpdate.from_json(asked.terms.purpose)
        for allowed in _summed(asked):
            if cls(asked, allowed, purpose)._found() is not None:
                return cls(asked, allowed, purpose)
        raise PolicyError(
            f"no task whose updates may be summed in cohort {asked.terms.cohort} was trained in round "
            f"{purpose.round} of group {purpose.group[:12]}",
            remedy="train the round before its updates are summed",
        )

    @property
    def task(self) -> str:
        """The site's own task that it is made from."""
        return self.allowed.name

    def require(self) -> None:
        """Raise unless the site's rules allow it; asked in every step.

        Raises:
            PolicyError: If they do not, or others trained together than are summed.
            TermsError: If the terms are not those of such a sum.
        """
        members, update = self.asked.terms.members, self._update
        self.allowed.in_transfer.require_sum(members)
        if sorted(update.partners) != sorted(members):
            raise PolicyError(
                f"group {self.purpose.group[:12]} is of {', '.join(sorted(update.partners))}, the sum of "
                f"{', '.join(sorted(members))}",
                remedy="sum the updates of those who trained together",
            )
        if update.training != self.purpose.training:
            raise PolicyError(
                f"round {self.purpose.round} of group {self.purpose.group[:12]} was trained otherwise here "
                "than the sum says that all sites did",
                remedy="let all sites train alike, or the sum shows what one of them did",
            )
        self._require_complete()
        self.purpose.require_terms(self.asked.terms, update.start)

    def prepare(self) -> Prepared:
        """Return the update as integers.

        Raises:
            PolicyError: If the site added other numbers for this round before.
            VectorError: If the update is not finite.
        """
        update = self._update
        values = self.purpose.to_vector(update.trained, update.start)
        check_values(self.asked.terms, values)
        self._exact_sums.require_same(self._name, values)
        return Prepared(values)

    def vector(self, prepared: Prepared) -> IntVector:
        """Return int64 [length] to be masked, no others ever again; PolicyError if there were others."""
        self._exact_sums.contribute(self._name, prepared.values)
        return prepared.values

    def budgets(self) -> tuple[Budget, ...]:
        """Return none: nothing pays for a sum without noise."""
        return ()

    def confirm(self, survivors: Survivors) -> None:
        """Bind the site to who is in the sum.

        Raises:
            PolicyError: If it confirmed others before.
        """
        self._exact_sums.confirm(survivors)

    def _require_complete(self) -> None:
        """Raise unless two sums with other survivors would need a site that confirms both."""
        terms = self.asked.terms
        if terms.n > graph.MOST_COMPLETE or terms.degree != terms.n - 1:
            raise TermsError(
                f"{terms.n} sites with degree {terms.degree} shall sum updates, expected at most "
                f"{graph.MOST_COMPLETE} sites that all share masks with each other"
            )

    @property
    def _update(self) -> Update:
        found = self._found()
        if found is None:
            raise PolicyError("the update of the round is not here any more", remedy="begin the group anew")
        return found

    def _found(self) -> Update | None:
        state = self.asked.site.state.folder
        return GroupFiles.of(state, self.purpose.group, self.task).update(self.purpose.round)

    @property
    def _name(self) -> str:
        return f"{self.purpose.group}-{self.purpose.round}"

    @property
    def _exact_sums(self) -> ExactSums:
        return ExactSums(self.asked.site.state.exact_sums, self.asked.terms.cohort, self.task)


def _summed(asked: Asked) -> Iterator[TaskPolicy]:
    """Return the tasks whose updates may be summed in the cohort."""
    for name in asked.policy.tasks:
        allowed = asked.policy.task(name)
        cohort = None if allowed.transfer is None else allowed.transfer.summed_in
        if cohort is not None and cohort.name == asked.terms.cohort:
            yield allowed
