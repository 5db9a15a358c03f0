"""Averages of one round of a common training, made at the aggregator from models that it verified."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flwr.serverapp import Grid

from aggregator.rounds.round_store import KeptRound, RoundStore
from aggregator.transfer.answer import Average
from aggregator.transfer.fedavg import average_round
from aggregator.transfer.masked import Masking, agreed_start, masked_average, tell_nobody
from aggregator.transfer.models import ModelFiles
from federation.errors import ModelError
from federation.identity import Identity
from federation.transfer.averaging import signed_average
from federation.transfer.model import TravellingModel
from federation.transfer.result import StepResult

SIGNER = "aggregator"
"""What averages name as their site."""

_NOTED = 20
Sent = Mapping[str, TravellingModel]


@dataclass(frozen=True)
class _Made:
    """An average, what is to be said of it, and who is not in it: site → code of why."""

    model: TravellingModel
    notes: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Averager:
    """Makes averages.

    Args:
        models: The aggregator's models.
        aggregator: Who signs.
        grid: Flower's grid, for sums under masks.
        roster: Site → public key.
        rounds: The aggregator's rounds of secure aggregation.
        job_id: Id of the job.
        patience_s: Seconds that a sum under masks waits for a site in each of its steps.
        tell: Told of every sum under masks that was opened.
    """

    models: ModelFiles
    aggregator: Identity
    grid: Grid
    roster: Mapping[str, str]
    rounds: RoundStore
    job_id: str
    patience_s: float
    tell: Callable[[KeptRound], None] = tell_nobody

    def make(self, work: Average, results: Sequence[StepResult]) -> StepResult:
        """Make an average, store it as a model, and return what it is.

        Args:
            work: What is averaged.
            results: What each of its steps found, in their order.

        Raises:
            TransferError: If it cannot be made of these updates.
            RoundError: If the sum under masks cannot be opened.
        """
        start = None if work.start is None else self.models.load(work.start)
        sent = self._sent(work, results)
        made = (self._masked if work.cohort else self._plain)(work, results, sent, start)
        model_id = self.models.keep(made.model.to_bytes())
        notes, left_out = made.notes[:_NOTED], dict(made.left_out)
        return StepResult(n_train=0, n_classes=1, model_id=model_id, notes=notes, left_out=left_out)

    def _plain(
        self, work: Average, results: Sequence[StepResult], sent: Sent, start: TravellingModel | None
    ) -> _Made:
        counts = {step.address: found.n_train for step, found in zip(work.steps, results, strict=True)}
        averaged, average = average_round(work.steps, sent, counts, start, self._signer)
        notes = [f"{who} was shortened to {factor:.3g}" for who, factor in average.judged.shortened.items()]
        notes += [f"{who} was left out: {why}" for who, why in average.judged.dropped.items()]
        return _Made(averaged, tuple(notes))

    def _masked(
        self, work: Average, _results: Sequence[StepResult], sent: Sent, start: TravellingModel | None
    ) -> _Made:
        """Open the sum of the updates; in the first round sites send the backbone at which they began."""
        first = next(iter(sent.values())) if start is None else start
        starts = {who: model.weights for who, model in sent.items()}
        weights = agreed_start(starts) if start is None else start.weights
        step, trained = work.steps[0], frozenset(each.site for each in work.steps)
        patience = (self.patience_s, self.patience_s)
        masking = Masking(work.cohort, self.rounds, self.job_id, trained, *patience, self.tell)
        found = masked_average(self.grid, self.aggregator, self.roster, step, weights, masking)
        averaged = signed_average(found.weights, first.normalization, step, self._signer)
        return _Made(averaged, (f"{len(found.contributors)} sites under masks",), found.left_out)

    @property
    def _signer(self) -> Identity:
        return replace(self.aggregator, name=SIGNER)

    def _sent(self, work: Average, results: Sequence[StepResult]) -> dict[str, TravellingModel]:
        """Return address → what its site sent; of masked updates nothing after the first round."""
        if work.cohort and work.start is not None:
            return {}
        sent = {}
        for step, result in zip(work.steps, results, strict=True):
            if result.model_id is None:
                raise ModelError(f"{step.address} sent no backbone after round {step.round}")
            sent[step.address] = self.models.load(result.model_id)
        return sent
