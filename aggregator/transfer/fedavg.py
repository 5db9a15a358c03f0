"""Flower's federated averaging behind a guard: what a site says is verified, judged and bounded first.

Flower's own strategy averages whatever arrives: ``num-examples`` of 10^12 replaces the model, a negative one
turns it round, NaN spreads, a renamed array ends the run. Here a reply is a signed envelope that answers its
own request, and only updates that ``aggregator.transfer.averaging`` believes reach Flower, with the shares
that it gives them. The queue of experiments, which does other work between two rounds, calls
``average_round`` itself and gets the same average.
"""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from aggregator.transfer.averaging import (
    GUARD,
    Average,
    Guard,
    Judged,
    Trained,
    average_backbones,
    integers,
    is_real,
    judge,
)
from federation.canonical import sha256_hex
from federation.envelope import Envelope
from federation.errors import FedprintError, MessageError, ModelError, TransferError
from federation.identity import Identity
from federation.messages import DONE, JobHeader
from federation.sealed_record import ReplyKey, seal_request
from federation.transfer.averaging import signed_average
from federation.transfer.messages import QUERY_TRANSFER, TransferReply, TransferRequest
from federation.transfer.model import Normalization, TravellingModel, Weights
from federation.transfer.step import CotrainStep

log = logging.getLogger("fedprint.hub")

_WEIGHT = "num-examples"
_ARRAYS, _METRICS = "arrays", "metrics"


@dataclass(frozen=True)
class Asked:
    """What a node was asked.

    Args:
        job: Header of the request.
        step: The step.
    """

    job: JobHeader
    step: CotrainStep


@dataclass(frozen=True)
class Wire:
    """How the sites of a group are reached.

    Args:
        aggregator: Who asks, and signs requests and averages.
        roster: Site → public key.
        nodes: Site → node that answers for it, as the roll call found.
        job_id: Id of the job.
        round_s: Seconds for one round.
        reply_key: What replies are sealed for.
    """

    aggregator: Identity
    roster: Mapping[str, str]
    nodes: Mapping[str, int]
    job_id: str
    round_s: float = 3600.0
    reply_key: ReplyKey = field(default_factory=ReplyKey)


def trained_by(reply: TransferReply, step: CotrainStep, public_key: str) -> tuple[Trained, TravellingModel]:
    """Return what a site trained in a round.

    Args:
        reply: Its verified reply.
        step: What it was asked.
        public_key: Key of the site, 64 hexadecimal digits.

    Raises:
        ModelError: If the model is missing, malformed, not signed by the site or made by another step.
        TransferError: If the site did not do the step.
    """
    if reply.state != DONE or reply.result is None:
        raise TransferError(f"site {step.site} ended round {step.round} with {reply.state[:40]!r}")
    if not reply.model or reply.result.model_id is None:
        raise ModelError(f"site {step.site} sent no backbone after round {step.round}")
    model = TravellingModel.from_bytes(reply.model, reply.result.model_id)
    if model.public_key != public_key:
        raise ModelError(f"the backbone of site {step.site} is signed by another key than the site's")
    stated = (model.site, model.task, model.step_id, model.network)
    if stated != (step.site, step.task, step.step_id, step.network):
        raise ModelError(f"the backbone of site {step.site} was made by another step than it was asked for")
    return Trained(model.weights, None if _hides_number(step) else reply.result.n_train), model


def average_round(
    steps: Sequence[CotrainStep],
    models: Mapping[str, TravellingModel],
    n_train: Mapping[str, int],
    start: TravellingModel | None,
    aggregator: Identity,
    guard: Guard = GUARD,
) -> tuple[TravellingModel, Average]:
    """Return the signed average of a round, and who had which part in it.

    Args:
        steps: What the members did; all of the same round.
        models: Address of a task → the backbone that its step made, verified; who sent none is missing.
        n_train: Address of a task → training images it used, as its site says.
        start: The model at which the round began; None in the first one.
        aggregator: Who averages, and signs.
        guard: How far an update is believed.

    Raises:
        TransferError: If fewer than two updates are good.
    """
    hidden = {step.address for step in steps if _hides_number(step)}
    trained = {
        who: Trained(model.weights, None if who in hidden else n_train[who]) for who, model in models.items()
    }
    silent = {step.address: "no reply" for step in steps if step.address not in trained}
    average = average_backbones(trained, None if start is None else start.weights, guard, silent)
    kinds = Counter(models[who].normalization for who in sorted(average.judged.good))
    ((kind, _),) = kinds.most_common(1)
    return signed_average(average.weights, kind, steps[0], aggregator), average


def _hides_number(step: CotrainStep) -> bool:
    """Return whether a site may not say how many images it trained on."""
    return step.recipe.private is not None


@dataclass(frozen=True)
class _Sent:
    """An average as it is sent; nothing where the round begins without one."""

    weights: Weights | None = None
    data: bytes = b""

    @property
    def model_id(self) -> str | None:
        return sha256_hex(self.data) if self.data else None


class GuardedFedAvg(FedAvg):
    """Federated averaging of the updates that deserve it.

    Args:
        steps: What every member of the group does in a round, from the round's number (from 0) and the id of
            the average at which it begins, None in the first one.
        wire: How its sites are reached.
        guard: How far an update is believed.
    """

    def __init__(
        self, steps: Callable[[int, str | None], Sequence[CotrainStep]], wire: Wire, guard: Guard = GUARD
    ) -> None:
        super().__init__(fraction_evaluate=0.0, weighted_by_key=_WEIGHT, arrayrecord_key=_ARRAYS)
        self._steps, self._wire, self._guard = steps, wire, guard
        self._asked: dict[str, Asked] = {}
        self._start: Weights | None = None
        self._normalization: Normalization = "batch"
        self.averages: list[Average] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return a signed request to every site of the group; each carries a nonce of its own.

        Args:
            server_round: Flower's count of rounds, from 1.
            arrays: The average so far; empty in the first round, which begins where the group says.
            config: Not sent: a step says everything.
            grid: Not asked: the roll call told which node answers for whom.
        """
        del config, grid
        sent = self._sent(arrays, server_round - 1)
        steps = self._steps(server_round - 1, sent.model_id)
        self._asked = {step.step_id: Asked(self._header(step.site), step) for step in steps}
        self._start = sent.weights
        return [self._message(asked, sent.data) for asked in self._asked.values()]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return the average of the good updates.

        Args:
            server_round: Flower's count of rounds, from 1.
            replies: Whatever came back.

        Raises:
            TransferError: If fewer than two are good, or Flower has no average of them.
        """
        trained, carriers, dropped = self._verified(replies)
        judged = judge(trained, self._start, self._guard, dropped)
        for who, why in sorted(judged.dropped.items()):
            log.warning("round %d: the update of %s is left out: %s", server_round - 1, who, why)
        clean = [_cleaned(carriers[who], judged, who) for who in judged.good]
        arrays, metrics = super().aggregate_train(server_round, clean)
        if arrays is None:
            raise TransferError(f"round {server_round - 1} of common training has no average")
        weights = {name: array.numpy() for name, array in arrays.items()} | integers(judged)
        self.averages.append(Average(weights, judged))
        return ArrayRecord({name: Array(array) for name, array in weights.items()}), metrics

    def _verified(
        self, replies: Iterable[Message]
    ) -> tuple[dict[str, Trained], dict[str, Message], dict[str, str]]:
        """Return what was trained, the messages that told it, and why others told nothing of use."""
        trained: dict[str, Trained] = {}
        carriers: dict[str, Message] = {}
        refused: dict[int, str] = {}
        for message in replies:
            try:
                address, what = self._read(message)
            except FedprintError as error:
                refused[message.metadata.src_node_id] = error.problem
                continue
            if address not in trained:
                trained[address], carriers[address] = what, message
        asked = (each.step for each in self._asked.values())
        nodes = {step.address: self._wire.nodes[step.site] for step in asked if step.address not in trained}
        return trained, carriers, {who: refused.get(node, "no reply") for who, node in nodes.items()}

    def _read(self, message: Message) -> tuple[str, Trained]:
        """Return which task was trained, and what came of it, once it is known to answer its request."""
        if message.has_error():
            raise MessageError("its node could not answer")
        record = self._wire.reply_key.open(message.content)
        named = str(Envelope.from_record(TransferReply.kind, record).body.get("step_id"))
        asked = self._asked.get(named)
        if asked is None:
            raise MessageError("a reply is about a step that nobody was asked for")
        reply = TransferReply.from_record(record, self._wire.roster, asked.job, asked.step)
        what, model = trained_by(reply, asked.step, self._wire.roster[asked.step.site])
        self._normalization = model.normalization
        return asked.step.address, what

    def _sent(self, arrays: ArrayRecord, number: int) -> _Sent:
        if number == 0:
            return _Sent()
        weights = {name: array.numpy() for name, array in arrays.items()}
        before = next(iter(self._asked.values())).step
        model = signed_average(weights, self._normalization, before, self._wire.aggregator)
        return _Sent(weights, model.to_bytes())

    def _header(self, site: str) -> JobHeader:
        wire, nonce = self._wire, secrets.token_hex(16)
        deadline, asks = time.time() + wire.round_s, wire.aggregator.public_key
        return JobHeader(wire.job_id, nonce, deadline, asks, wire.reply_key.public, (wire.roster[site],))

    def _message(self, asked: Asked, model: bytes) -> Message:
        request = TransferRequest(asked.job, asked.step, self._wire.round_s, model)
        record = seal_request(request.to_record(self._wire.aggregator), asked.job.recipients)
        node = self._wire.nodes[asked.step.site]
        return Message(record, node, QUERY_TRANSFER, group_id=self._wire.job_id)


def _cleaned(message: Message, judged: Judged, who: str) -> Message:
    """Return a message with nothing in it but the real numbers that are averaged."""
    arrays = {name: array for name, array in judged.good[who].items() if is_real(array)}
    record = ArrayRecord({name: Array(np.ascontiguousarray(array)) for name, array in arrays.items()})
    weight = MetricRecord({_WEIGHT: judged.shares[who]})
    message.content = RecordDict({_ARRAYS: record, _METRICS: weight})
    return message
