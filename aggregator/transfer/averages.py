"""Averages of one round of a common training, made at the aggregator from models that it verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flwr.serverapp import Grid

from aggregator.cohort_config import CohortConfig
from aggregator.rounds.round_store import RoundStore
from aggregator.transfer.answer import Average
from aggregator.transfer.averaging import Trained, average_backbones
from aggregator.transfer.masked import Masking, agreed_start, masked_average
from aggregator.transfer.models import ModelFiles
from federation.errors import ConfigError, ModelError, TransferError
from federation.identity import Identity
from federation.transfer.averaging import signed_average
from federation.transfer.model import Normalization, TravellingModel, Weights
from federation.transfer.result import StepResult

SIGNER = "aggregator"
"""What averages name as their site."""

_NOTED = 20


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
        if work.group.masked:
            weights, normalization, notes = self._masked(work, results, start)
        else:
            weights, normalization, notes = self._plain(work, results, start)
        signer = replace(self.aggregator, name=SIGNER)
        named = (work.network, normalization, work.group.group_id, work.number, signer)
        model_id = self.models.keep(signed_average(weights, *named).to_bytes())
        return StepResult(n_train=0, n_classes=1, model_id=model_id, notes=notes[:_NOTED])

    def _plain(
        self, work: Average, results: Sequence[StepResult], start: TravellingModel | None
    ) -> tuple[Weights, Normalization, tuple[str, ...]]:
        sent = self._sent(work, results)
        counts = dict(zip(sent, (_counted(work, result) for result in results), strict=True))
        trained = {who: Trained(model.weights, counts[who]) for who, model in sent.items()}
        average = average_backbones(trained, None if start is None else start.weights)
        notes = [f"{who} was shortened to {factor:.3g}" for who, factor in average.judged.shortened.items()]
        notes += [f"{who} was left out: {why}" for who, why in average.judged.dropped.items()]
        return average.weights, _common_normalization(sent), tuple(notes)

    def _masked(
        self, work: Average, results: Sequence[StepResult], start: TravellingModel | None
    ) -> tuple[Weights, Normalization, tuple[str, ...]]:
        """Open the sum of the updates; in the first round sites send the backbone at which they began."""
        if start is None:
            sent = self._sent(work, results)
            weights = agreed_start({who: model.weights for who, model in sent.items()})
            normalization = _common_normalization(sent)
        else:
            weights, normalization = start.weights, start.normalization
        masking = Masking(self._cohort(work), self.rounds, self.job_id)
        found = masked_average(
            self.grid, self.aggregator, self.roster, work.group, work.number, weights, masking
        )
        return found.weights, normalization, (f"{len(found.contributors)} sites under masks",)

    def _sent(self, work: Average, results: Sequence[StepResult]) -> dict[str, TravellingModel]:
        sent = {}
        for step, result in zip(work.steps, results, strict=True):
            if result.model_id is None:
                raise ModelError(f"{step.address} sent no backbone after round {step.round}")
            sent[step.address] = self.models.load(result.model_id)
        return sent

    def _cohort(self, work: Average) -> str:
        members = set(work.group.partners)
        for cohort in self.cohorts:
            if set(cohort.sites) == members:
                return cohort.name
        raise ConfigError(
            f"no cohort of the hub file has exactly the sites {', '.join(sorted(members))}",
            remedy="add one: its sites' policies decide whether they sum under masks",
        )


def _counted(work: Average, result: StepResult) -> int:
    """Return a site's number of training images; one that trains with noise does not tell it."""
    return 1 if work.group.recipe.private is not None else result.n_train


def _common_normalization(sent: Mapping[str, TravellingModel]) -> Normalization:
    found = {model.normalization for model in sent.values()}
    if len(found) > 1:
        raise TransferError(
            f"backbones of one group have different normalisations: {', '.join(sorted(found))}",
            remedy="use the same fedprint version everywhere",
        )
    return found.pop()
