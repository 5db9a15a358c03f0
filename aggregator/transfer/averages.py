"""Averages of one round of a common training, made at the aggregator from models that it verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flwr.serverapp import Grid

from aggregator.cohort_config import CohortConfig
from aggregator.rounds.round_store import RoundStore
from aggregator.transfer.answer import Average
from aggregator.transfer.fedavg import average_round
from aggregator.transfer.masked import Masking, agreed_start, masked_average
from aggregator.transfer.models import ModelFiles
from federation.errors import ConfigError, ModelError
from federation.identity import Identity
from federation.transfer.averaging import signed_average
from federation.transfer.model import TravellingModel
from federation.transfer.result import StepResult

SIGNER = "aggregator"
"""What averages name as their site."""

_NOTED = 20
Sent = Mapping[str, TravellingModel]


@dataclass(frozen=True)
class Averager:
    """Makes averages.

    Args:
        models: The aggregator's models.
        aggregator: Who signs.
        grid: Flower's grid, for sums under masks.
        roster: Site → public key.
        cohorts: The hub's cohorts; a masked group is one of them.
        rounds: The aggregator's rounds of secure aggregation.
        job_id: Id of the job.
    """

    models: ModelFiles
    aggregator: Identity
    grid: Grid
    roster: Mapping[str, str]
    cohorts: Sequence[CohortConfig]
    rounds: RoundStore
    job_id: str

    def make(self, work: Average, results: Sequence[StepResult]) -> StepResult:
        """Make an average, store it as a model, and return what it is.

        Args:
            work: What is averaged.
            results: What each of its steps found, in their order.

        Raises:
            TransferError: If it cannot be made of these updates.
            ConfigError: If a masked group is none of the hub's cohorts.
            RoundError: If the sum under masks cannot be opened.
        """
        start = None if work.start is None else self.models.load(work.start)
        sent = self._sent(work, results)
        averaged, notes = (self._masked if work.masked else self._plain)(work, results, sent, start)
        model_id = self.models.keep(averaged.to_bytes())
        return StepResult(n_train=0, n_classes=1, model_id=model_id, notes=notes[:_NOTED])

    def _plain(
        self, work: Average, results: Sequence[StepResult], sent: Sent, start: TravellingModel | None
    ) -> tuple[TravellingModel, tuple[str, ...]]:
        counts = {step.address: found.n_train for step, found in zip(work.steps, results, strict=True)}
        averaged, average = average_round(work.steps, sent, counts, start, self._signer)
        notes = [f"{who} was shortened to {factor:.3g}" for who, factor in average.judged.shortened.items()]
        notes += [f"{who} was left out: {why}" for who, why in average.judged.dropped.items()]
        return averaged, tuple(notes)

    def _masked(
        self, work: Average, _results: Sequence[StepResult], sent: Sent, start: TravellingModel | None
    ) -> tuple[TravellingModel, tuple[str, ...]]:
        """Open the sum of the updates; in the first round sites send the backbone at which they began."""
        first = next(iter(sent.values())) if start is None else start
        starts = {who: model.weights for who, model in sent.items()}
        weights = agreed_start(starts) if start is None else start.weights
        masking = Masking(self._cohort(work), self.rounds, self.job_id)
        step = work.steps[0]
        found = masked_average(self.grid, self.aggregator, self.roster, step, weights, masking)
        averaged = signed_average(found.weights, first.normalization, step, self._signer)
        return averaged, (f"{len(found.contributors)} sites under masks",)

    @property
    def _signer(self) -> Identity:
        return replace(self.aggregator, name=SIGNER)

    def _sent(self, work: Average, results: Sequence[StepResult]) -> dict[str, TravellingModel]:
        """Return address → what its site sent; of masked updates nothing after the first round."""
        if work.masked and work.start is not None:
            return {}
        sent = {}
        for step, result in zip(work.steps, results, strict=True):
            if result.model_id is None:
                raise ModelError(f"{step.address} sent no backbone after round {step.round}")
            sent[step.address] = self.models.load(result.model_id)
        return sent

    def _cohort(self, work: Average) -> str:
        members = set(work.steps[0].partners)
        for cohort in self.cohorts:
            if set(cohort.sites) == members:
                return cohort.name
        raise ConfigError(
            f"no cohort of the hub file has exactly the sites {', '.join(sorted(members))}",
            remedy="add one: its sites' policies decide whether they sum under masks",
        )
