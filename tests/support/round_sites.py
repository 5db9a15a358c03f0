"""Sites that answer rounds from memory, over Flower, and an aggregator that may die between two steps."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cohorts
import numpy as np
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from sealed_wire import answering, heard, opened, plain

from aggregator.rounds.round_store import RoundStore
from aggregator.rounds.secure_sum import SumResult, secure_sum
from deploy.inprocess import InProcessGrid, Node, run_in_process
from federation.canonical import canonical_json
from federation.errors import FedprintError
from federation.identity import Identity
from federation.messages import WITHHELD
from federation.round_messages import (
    STEPS,
    AdvertiseRequest,
    StepReply,
    StepRequest,
    read_request,
)
from federation.secagg import client
from federation.secagg.terms import Terms

HUB = cohorts.identity("hub")

Fault = Callable[["RoundSite", Message, StepReply], Message]


class Killed(Exception):  # noqa: N818  (it is no error of the aggregator's)
    """The aggregator's process has ended."""


@dataclass
class RoundSite:
    """A site whose memory is its disk: asked the same again, it says the same.

    Args:
        name: Its name.
        values: Space id, empty where the terms come without one, and number of entries → its vector.
        faults: Step → what it does there instead of answering.
        identity: Its long-term key.
        members: Names of the cohorts it belongs to.
        memory: Round id → its state.
        said: Round id and step → what it was asked and what it answered.
    """

    name: str
    values: Callable[[AdvertiseRequest], np.ndarray]
    faults: Mapping[str, Fault] = field(default_factory=dict)
    members: Sequence[str] = ("cohort",)
    memory: dict = field(default_factory=dict)
    requests: dict = field(default_factory=dict)
    said: dict = field(default_factory=dict)
    n_asked: dict = field(default_factory=dict)

    @property
    def identity(self) -> Identity:
        return cohorts.identity(self.name)

    def app(self) -> ClientApp:
        app = ClientApp()
        app.query("round")(lambda message, _context: self.answer(message))
        return app

    def answer(self, message: Message) -> Message:
        request = read_request(heard(message, self.identity))
        self.n_asked[request.step] = self.n_asked.get(request.step, 0) + 1
        reply = self.reply(request)
        if request.step in self.faults and reply.code != WITHHELD:
            return self.faults[request.step](self, message, reply)
        return answering(message, self.identity, reply.to_record(self.identity))

    def reply(self, request: AdvertiseRequest | StepRequest) -> StepReply:
        begins = isinstance(request, AdvertiseRequest)
        round_id = request.terms.round_id if begins else request.round_id
        about = (self.name, request.job.job_id, request.job.nonce, round_id, request.step)
        if begins and request.terms.cohort not in self.members:
            return StepReply(*about, code=WITHHELD)
        if request.step != STEPS[-1] and (round_id, STEPS[-1]) in self.said:
            return StepReply(*about, code="replay")  # it has forgotten everything but its last answer
        asked = request.terms.digest if begins else _content(request.message)
        if (round_id, request.step) not in self.said:
            if begins:
                self.requests[round_id] = request
            self.said[round_id, request.step] = asked, self._step(round_id, request)
        before, message = self.said[round_id, request.step]
        return StepReply(*about, message) if before == asked else StepReply(*about, code="replay")

    def _step(self, round_id, request):
        state = self.memory.get(round_id)
        match request.step:
            case "advertise":
                state, message = client.advertise(request.terms, self.name, self.identity)
            case "share":
                state, message = state.share(request.message)
            case "mask":
                state, message = state.mask(request.message, self.values(self.requests[round_id]))
            case "confirm":
                state, message = state.confirm(request.message, self.identity)
            case "unmask":
                state, message = None, state.unmask(request.message)
        self.memory[round_id] = state
        return message

    def forget(self) -> None:
        """Lose everything, as with a new disk."""
        self.memory.clear()
        self.said.clear()


def _content(message) -> bytes:
    return canonical_json([dict(message.body()), {k: v.hex() for k, v in message.blobs().items()}])


def cohort(n: int = 4, length: int = 5, **faults: Mapping[str, Fault]) -> list[RoundSite]:
    """Sites with different vectors; faults by the number of the site: ``s1={"mask": unreachable}``."""
    sites = cohorts.names(n)
    return [
        RoundSite(
            site, lambda _, i=i: np.arange(i * 10, i * 10 + length, dtype=np.int64), faults.get(f"s{i}", {})
        )
        for i, site in enumerate(sites)
    ]


def total(sites: Sequence[RoundSite], *, without: Sequence[int] = ()) -> np.ndarray:
    """What the sum must be."""
    return sum(site.values(None) for i, site in enumerate(sites) if i not in without)


def terms_for(sites: Sequence[RoundSite], round_id: str = "0" * 32, **changes) -> Terms:
    members = {site.name: site.identity.public_key for site in sites}
    settings = {"length": 5, "bound": 1000, "expires": 4e9, "purpose": {"purpose": "test"}} | changes
    purpose = settings.pop("purpose")
    return Terms.for_cohort(round_id, "cohort", members, purpose, **settings)


@dataclass
class Mortal:
    """A grid at which the aggregator dies: when it asks for a step, or when it would hear the answers.

    Args:
        grid: The real one.
        step: The step.
        when: ``"push"`` or ``"pull"``.
    """

    grid: Grid
    step: str
    when: str
    asked: str = ""

    def get_node_ids(self):
        return self.grid.get_node_ids()

    def push_messages(self, messages):
        messages = list(messages)
        self.asked = read_request(plain(messages[0].content)).step
        if (self.asked, self.when) == (self.step, "push"):
            raise Killed
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids):
        found = list(self.grid.pull_messages(message_ids))
        if found and (self.asked, self.when) == (self.step, "pull"):
            raise Killed
        return found


@dataclass
class Run:
    """How one run of the aggregator ended.

    Args:
        result: The sum, where there is one.
        error: What was raised instead.
        grid: Everything that crossed the wire.
    """

    result: SumResult | None = None
    error: Exception | None = None
    grid: InProcessGrid | None = None

    def asked(self) -> list[str]:
        """The steps that sites were asked for, in order, once each."""
        down = [each.message.content for each in opened(self.grid.sent) if each.direction == "down"]
        return list(dict.fromkeys(read_request(content).step for content in down))


def run(
    sites: Sequence[RoundSite],
    terms: Terms,
    folder: Path,
    *,
    job_id: str = "job-1",
    wrap: Callable[[Grid], Grid] = lambda grid: grid,
    others: Sequence[ClientApp] = (),
    timeout_s: float = 20.0,
    step_timeout_s: float = 20.0,
) -> Run:
    """Run one aggregator against the sites, until it has the sum, gives up or dies."""
    ended, server = Run(), ServerApp()
    roster = {site.name: site.identity.public_key for site in sites}

    @server.main()
    def main(grid, _context):
        try:
            ended.result = secure_sum(
                wrap(grid), HUB, roster, terms, None, RoundStore(folder),
                job_id=job_id, timeout_s=timeout_s, step_timeout_s=step_timeout_s,
            )  # fmt: skip
        except (Killed, FedprintError) as error:
            ended.error = error

    nodes = [Node(app, {}) for app in [*(site.app() for site in sites), *others]]
    ended.grid = run_in_process(server, nodes, {}, parallel=2, record=True)
    return ended


def dying_with(code: str) -> Fault:
    """The process of the site dies, and its node says so in a word."""
    return lambda site, message, reply: Message(Error(8, code), reply_to=message)


def unreachable(site, message, _reply):
    """The node is gone."""
    return Message(Error(100, "node unavailable"), reply_to=message)


def raising(_site, _message, _reply):
    """The site's app breaks, naming what nobody else may know."""
    raise ValueError("patient-0815.png is broken")


def refusing(code: str) -> Fault:
    """The site says that it does not go on."""

    def refuse(site, message, reply):
        refused = StepReply(reply.site, reply.job_id, reply.nonce, reply.round_id, reply.step, code=code)
        return answering(message, site.identity, refused.to_record(site.identity))

    return refuse


def saying(change: Callable[[StepReply], StepReply], signer: str = "") -> Fault:
    """The site says something else than it should, or signs with another key."""

    def lie(site, message, reply):
        identity = cohorts.identity(signer) if signer else site.identity
        return answering(message, site.identity, change(reply).to_record(identity))

    return lie


def hanging(until: threading.Event) -> Fault:
    """The site answers once somebody lets it."""

    def hang(site, message, reply):
        until.wait(30)
        return answering(message, site.identity, reply.to_record(site.identity))

    return hang
