"""The sketches of a task as a site's part of a cohort's sum, with a share of noise or exactly.

Sketches are made and judged before the site agrees to take part, when nobody has paid anything: who is too
small, or over its budget, takes no part, and costs the others nothing.

An exact sum is refused for a task whose patients a noisy release was promised to hide: beside the sum, all
other members together could take the noise off it again. The other way round nothing is promised that does
not hold: what leaves after an exact sum, with other words in the policy, is as private by itself as it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf, prod
from typing import Self

import numpy as np

from federation.errors import BudgetError, MessageError, PolicyError, ReplayError, TermsError
from federation.pooled import PooledRelease
from federation.privacy.noise import discrete_gaussian
from federation.privacy.statement import DISTRIBUTED_GAUSSIAN
from federation.sampling import SamplingPlan
from federation.secagg.checks import check_values
from federation.secagg.messages import Survivors
from federation.sketches.base import IntVector
from federation.space import Space
from federation.trust import TrustMode
from site_agent import jobs
from site_agent.data import open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.ledger.budget import Budget, Charge
from site_agent.ledger.storage import LedgerFiles
from site_agent.patients import bound_patients
from site_agent.policy import POLICY_FILE, TaskPolicy
from site_agent.private_release import data_of
from site_agent.rounds.contribution import Asked, Contribution, Prepared
from site_agent.rounds.exact_sums import ExactSums
from site_agent.settlement import ROUND, SPACE
from site_agent.sketch_work import Sketched, Work

_SIZES = "sizes"


@dataclass(frozen=True)
class PooledSketches(Contribution):
    """The sketches of the one task that a cohort pools.

    Args:
        asked: What the site is asked.
        allowed: What its policy says about the task.
        release: What is summed.
    """

    asked: Asked
    allowed: TaskPolicy
    release: PooledRelease

    @classmethod
    def of(cls, asked: Asked) -> Self:
        """Return what the site would contribute to a sum of sketches.

        Raises:
            PolicyError: If the policy names no task for the cohort.
            TermsError: If the purpose of the round is malformed.
        """
        allowed = asked.policy.task_of_cohort(asked.terms.cohort)
        return cls(asked, allowed, PooledRelease.from_json(asked.terms.purpose))

    @property
    def task(self) -> str:
        """The site's own task that it is made from."""
        return self.allowed.name

    def require(self) -> None:
        """Raise unless the site's rules allow it, without a look at the data; asked in every step.

        Raises:
            BudgetError: If a patient would pay more than the policy allows at once.
            PolicyError: If they do not.
            SpaceMismatchError: If the space that came is not that of the terms.
            TermsError: If the terms are not those of such a sum.
        """
        self.allowed.require(TrustMode.POOLED)
        mode = self.asked.site.config.mode(self._dataset)
        if mode is not TrustMode.POOLED:
            raise PolicyError(
                f'task {self.task}: trust is "{mode.value}", expected "pooled" to be summed in a cohort',
                remedy=f"change trust in the site file, or modes of task.{self.task} in {POLICY_FILE}",
            )
        self._require_exact() if self.release.is_exact else self._require_noisy()
        if self.asked.space is not None:
            self._require_space(self.asked.space)

    def prepare(self) -> Prepared:
        """Sketch the task, once it is known that budgets would pay.

        Raises:
            BudgetError: If they would not.
            MessageError: If no space came.
            NotReleasableError: If something about the data stands against it, such as too few patients.
            PolicyError: If an exact sum would betray something that was promised, or earlier sums.
        """
        if self.asked.space is None:
            raise MessageError("sketches are to be summed, and no space came", remedy="send the space")
        return (
            self._prepared_exactly(self.asked.space)
            if self.release.is_exact
            else self._prepared(self.asked.space)
        )

    def require_unpaid(self) -> None:
        """Raise if the ledger paid for this round before; see the base class."""
        site = self.asked.site
        if not LedgerFiles(site.state.folder).ledger.exists():
            return
        if jobs.ledger_of(site).charged(self._release_id) is not None:
            raise ReplayError(
                f"round {self.asked.terms.round_id} was paid for before, but the site no longer knows it",
                remedy="start another round; restore the site's state folder from backup if it was lost",
            )

    def vector(self, prepared: Prepared) -> IntVector:
        """Return int64 [length] to be masked, noise drawn anew; nobody has seen it yet.

        Raises:
            BudgetError: If a patient would pay more than the policy allows at once by now.
            PolicyError: If other numbers were summed exactly before.
        """
        if prepared.charge is None:
            self._require_nothing_promised()
            self._exact_sums.contribute(self.release.space_id, prepared.values)
            return prepared.values
        self._require_price(prepared.charge)
        sizes: Mapping[str, int] = dict(prepared.about[_SIZES])
        shares = [discrete_gaussian(size, self.release.noise[name]) for name, size in sizes.items()]
        return prepared.values + np.concatenate(shares)

    def budgets(self) -> tuple[Budget, ...]:
        """Return every budget that the charge draws on."""
        return self.allowed.budgets()

    def confirm(self, survivors: Survivors) -> None:
        """Bind the site to who is in the sum, where no noise hides a difference of sums.

        Raises:
            PolicyError: If it confirmed others before.
        """
        if self.release.is_exact:
            self._exact_sums.confirm(survivors)

    @cached_property
    def _dataset(self) -> DatasetConfig:
        named = (dataset for dataset in self.asked.site.config.dataset if dataset.task == self.task)
        dataset = next(named, None)
        if dataset is None:
            raise PolicyError(
                f"cohort {self.asked.terms.cohort} pools task {self.task}, which the site file does not name",
                remedy=f"name the same task in site file and {POLICY_FILE}",
            )
        return dataset

    @property
    def _exact_sums(self) -> ExactSums:
        return ExactSums(self.asked.site.state.exact_sums, self.asked.terms.cohort, self.task)

    def _require_exact(self) -> None:
        terms = self.asked.terms
        if not self.allowed.exact_sum_because:
            raise PolicyError(
                f"task {self.task}: the policy does not allow an exact sum",
                remedy=f"give the cohort a budget for noise, or task.{self.task} in {POLICY_FILE} an "
                "exact_sum_because",
            )
        if terms.degree != terms.n - 1:
            raise TermsError(
                f"degree is {terms.degree}, expected {terms.n - 1} for an exact sum of {terms.n} sites",
                remedy="give the cohort a budget for noise",
            )

    def _require_noisy(self) -> None:
        expected, found = self.allowed.terms.images_per_patient, self.release.images_per_patient
        if found != expected:
            raise PolicyError(
                f"task {self.task}: {found} images of a patient would count, the policy says {expected}",
                remedy="agree on images_per_patient within the cohort",
            )

    def _require_space(self, space: Space) -> None:
        PooledRelease.of_terms(self.asked.terms, space)
        self.allowed.check_request(space, self.asked.job.aggregator)
        if not self.release.is_exact:
            self._require_price(self._charge(space))

    def _require_price(self, charge: Charge) -> None:
        budget, most = self.allowed.terms.task, self.allowed.release_rho
        if charge.rho > most:
            raise BudgetError(
                f"task {self.task}: the sum costs {budget.describe(charge.rho)}, the policy allows "
                f"{budget.describe(most)} at once",
                remedy="let the cohort spend less, or raise release_eps or release_rho",
            )

    @property
    def _release_id(self) -> str:
        return f"{self.task} in round {self.asked.terms.round_id}"

    def _charge(self, space: Space) -> Charge:
        terms, release = self.asked.terms, self.release
        mechanism = {
            "name": DISTRIBUTED_GAUSSIAN,
            ROUND: terms.round_id,
            "cohort": terms.cohort,
            "honest": release.honest,
            SPACE: release.space_id,
            "weight": release.weight,
            "noise": dict(release.noise),
        }
        population, job_id = self.allowed.terms.population.name, self.asked.job.job_id
        return Charge(self._release_id, job_id, self.task, population, None, release.rho(space), mechanism)

    def _prepared(self, space: Space) -> Prepared:
        charge = self._charge(space)
        jobs.ledger_of(self.asked.site).check(charge, self.budgets())
        with data_of(self.task):
            patients = bound_patients(open_source(self._dataset), self.release.images_per_patient)
            self.release.require_unit(patients.unit)
            # Giving up in the middle would tell how many images there are.
            limit, levels = self._dataset.max_unreadable, None
            exact = self._sketch(Work.of_patients(patients, space, limit, inf, levels, charge.rho))
            self.allowed.require_enough(exact.n_patients)
            values = self._checked(exact)
        sizes = [[name, prod(shape)] for name, shape in self.release.layout(space).items()]
        return Prepared(values, charge, {_SIZES: sizes})

    def _prepared_exactly(self, space: Space) -> Prepared:
        self._require_nothing_promised()
        with data_of(self.task):
            source, limit = open_source(self._dataset), self._dataset.max_unreadable
            values = self._checked(self._sketch(Work(source, space, SamplingPlan(None), limit, inf)))
        self._exact_sums.require_same(space.space_id, values)
        return Prepared(values)

    def _require_nothing_promised(self) -> None:
        site = self.asked.site
        if not LedgerFiles(site.state.folder).ledger.exists():
            return
        charges = (entry.charge for entry in jobs.ledger_of(site).entries())
        if any(charge is not None and charge.task == self.task for charge in charges):
            raise PolicyError(
                f"task {self.task} was released with noise before, which an exact sum would help to take off",
                remedy=f"give the cohort a budget for noise, and take exact_sum_because out of {POLICY_FILE}",
            )

    def _sketch(self, work: Work) -> Sketched:
        return jobs.exact_sketches(self.asked.site, self._dataset, work, self.asked.job)

    def _checked(self, exact: Sketched) -> IntVector:
        """Return the vector of sketches that are as large as the terms allow."""
        if exact.n_patients > self.release.max_patients:
            raise PolicyError(
                f"task {self.task} has {exact.n_patients:,} patients, the cohort expects "
                f"{self.release.max_patients:,} at most",
                remedy="raise max_patients of the cohort",
            )
        values = self.release.to_vector(exact.sketches)
        check_values(self.asked.terms, values)
        return values
