"""One question to nodes: push, poll, and take what comes by the deadline."""

import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from federation.errors import FedprintError
from federation.identity import Identity
from federation.messages import JobHeader, Request, SiteReply
from federation.reply_words import CODE
from federation.sealed_record import ReplyKey, seal_request

log = logging.getLogger("fedprint.hub")

NO_REPLY = "no-reply"
INVALID_REPLY = "invalid-reply"
FAILED = "failed"
_LONGEST_POLL_S, _SHORTEST_POLL_S = 0.2, 0.005
_NODES_GRACE_S = 30.0


class Signable(Protocol):
    """A request, whatever it asks."""

    @property
    def job(self) -> JobHeader:
        """Its header."""

    def to_record(self, aggregator: Identity) -> RecordDict:
        """Return the request, signed, as a Flower record."""


class Attributed(Protocol):
    """A verified reply, whatever it says."""

    @property
    def site(self) -> str:
        """Name of the site that signed it."""


Reply = TypeVar("Reply", bound=Attributed)


@dataclass(frozen=True)
class RoundResult(Generic[Reply]):
    """What came back.

    Args:
        replies: Site → its verified reply.
        missing: Site → why it has none.
        nodes: Site → node that answered for it.
    """

    replies: Mapping[str, Reply] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Asking:
    """Who asks whom through what.

    Args:
        grid: Flower's grid.
        aggregator: Who asks, and signs.
        job_id: Id of the job.
        message_type: ``"query.…"``.
        roster: Site → public key of everybody who may be asked.
        reply_key: What replies are sealed for.
    """

    grid: Grid
    aggregator: Identity
    job_id: str
    message_type: str
    roster: Mapping[str, str]
    reply_key: ReplyKey = field(default_factory=ReplyKey)

    def header(self, deadline: float, site: str = "") -> JobHeader:
        """Return the header of one request: its nonce is no other one's.

        Args:
            deadline: Unix time in seconds.
            site: Who alone may read the request; empty where nobody knows who will answer: everybody may.
        """
        recipients = (self.roster[site],) if site else tuple(self.roster.values())
        asks, nonce = self.aggregator.public_key, secrets.token_hex(16)
        return JobHeader(self.job_id, nonce, deadline, asks, self.reply_key.public, recipients)

    def send(self, request: Signable, node_id: int) -> list[str]:
        """Push a request, sealed, to a node and return the ids under which its reply can be pulled."""
        return list(self.grid.push_messages([self.message(request, node_id)]))

    def message(self, request: Signable, node_id: int) -> Message:
        """Return a request to a node, signed and sealed for the recipients that it names."""
        record = seal_request(request.to_record(self.aggregator), request.job.recipients)
        return Message(record, node_id, self.message_type, group_id=self.job_id)

    def open(self, message: Message) -> RecordDict:
        """Return the reply that a message holds; it must have a content.

        Raises:
            SealError: If it is not sealed, or for another process.
        """
        return self.reply_key.open(message.content)


def ask_everyone(
    grid: Grid,
    aggregator: Identity,
    message_type: str,
    make_request: Callable[[JobHeader], Request],
    *,
    job_id: str,
    timeout_s: float,
    roster: Mapping[str, str],
) -> RoundResult[SiteReply]:
    """Send one signed request to every connected node and collect the verified replies of sites.

    Args:
        grid: Flower's grid.
        aggregator: Who asks, and signs.
        message_type: ``"query.…"``.
        make_request: Builds the request from its job header.
        job_id: Id of the job.
        timeout_s: Seconds to wait.
        roster: Site → public key.
    """
    return ask_every_node(
        Asking(grid, aggregator, job_id, message_type, roster),
        make_request,
        lambda record, job: SiteReply.from_record(record, roster, job),
        deadline=time.time() + timeout_s,
        expected=roster,
        n_nodes=len(roster),
    )


def ask_every_node(
    asking: Asking,
    make_request: Callable[[JobHeader], Signable],
    read: Callable[[RecordDict, JobHeader], Reply],
    *,
    deadline: float,
    expected: Collection[str],
    n_nodes: int,
) -> RoundResult[Reply]:
    """Send a signed request to every connected node, until everybody who is expected has answered.

    Every node gets a nonce of its own. Replies are attributed to sites by signature, never by node id; a
    second valid reply of the same site is refused.

    Args:
        asking: Who asks.
        make_request: Builds the request from its job header.
        read: Reads and verifies a reply to the request with a header; raises FedprintError for a bad one.
        deadline: Unix time in seconds.
        expected: The sites that are waited for; others may answer meanwhile.
        n_nodes: How many nodes are waited for, for a while, before anybody is asked.
    """
    post: _Post[Reply] = _Post(asking, read)
    for node_id in _connected(asking.grid, n_nodes, deadline):
        job = asking.header(deadline)
        post.send(make_request(job), _Asked(job, node_id))
    post.collect(deadline, expected)
    silent = [site for site in expected if site not in post.replies]
    # Which node belongs to a silent site is unknown, so a problem names a site only when nothing else can.
    reason = post.problems[0][1] if len(silent) == len(post.problems) == 1 else NO_REPLY
    return RoundResult(post.replies, dict.fromkeys(silent, reason), post.nodes)


def ask_sites(
    asking: Asking,
    make_request: Callable[[JobHeader, str], Signable],
    read: Callable[[RecordDict, JobHeader], Reply],
    *,
    deadline: float,
    nodes: Mapping[str, int],
) -> RoundResult[Reply]:
    """Send each site a signed request of its own, at the node that is known to answer for it.

    Args:
        asking: Who asks.
        make_request: Builds the request to a site from its job header and the site's name.
        read: As for ``ask_every_node``.
        deadline: Unix time in seconds.
        nodes: Site → its node.
    """
    post: _Post[Reply] = _Post(asking, read)
    for site, node_id in nodes.items():
        job = asking.header(deadline, site)
        post.send(make_request(job, site), _Asked(job, node_id, site))
    post.collect(deadline, nodes)
    reasons = dict(post.problems)
    missing = {site: reasons.get(site, NO_REPLY) for site in nodes if site not in post.replies}
    return RoundResult(post.replies, missing, post.nodes)


@dataclass(frozen=True)
class _Asked:
    """One request that is under way; ``site`` is empty where nobody knows who will answer."""

    job: JobHeader
    node_id: int
    site: str = ""


@dataclass
class _Post(Generic[Reply]):
    """Requests that are under way, and what came back; a problem names the site where it is known."""

    asking: Asking
    read: Callable[[RecordDict, JobHeader], Reply]
    pending: dict[str, _Asked] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def send(self, request: Signable, asked: _Asked) -> None:
        """Push a request, and remember whom it went to."""
        self.pending.update(dict.fromkeys(self.asking.send(request, asked.node_id), asked))

    def collect(self, deadline: float, expected: Collection[str]) -> None:
        """Take replies until everybody who is expected has answered, nobody else can, or it is time."""
        waited_since = time.time()
        while self.pending and time.time() < deadline and not set(expected) <= set(self.replies):
            messages = self._pull()
            for message in messages:
                self._take(message, self.pending.pop(message.metadata.reply_to_message_id))
            if not messages:
                time.sleep(_pause(waited_since))

    def _pull(self) -> Sequence[Message]:
        return list(self.asking.grid.pull_messages(list(self.pending)))

    def _take(self, message: Message, asked: _Asked) -> None:
        if message.has_error():
            reason = stated_code(message)
            who = f"site {asked.site}" if asked.site else "a site"
            self._complain(asked, reason, f"{who} could not answer: {reason}")
            return
        try:
            reply = self.read(self.asking.open(message), asked.job)
        except FedprintError as error:
            self._complain(asked, INVALID_REPLY, f"a reply was refused: {error}")
            return
        if asked.site not in ("", reply.site):
            self._complain(asked, INVALID_REPLY, f"site {reply.site} answered what {asked.site} was asked")
        elif reply.site in self.replies:
            self._complain(
                asked, INVALID_REPLY, f"a second reply in the name of site {reply.site} was refused"
            )
        else:
            self.replies[reply.site] = reply
            self.nodes[reply.site] = asked.node_id

    def _complain(self, asked: _Asked, code: str, text: str) -> None:
        log.warning("%s", text)
        self.problems.append((asked.site, code))


def stated_code(message: Message) -> str:
    """Return the code of an error; what is no code may hold anything, and is not kept."""
    reason = message.error.reason or f"flower-{message.error.code}"
    return reason if CODE.fullmatch(reason) else FAILED


def _connected(grid: Grid, expected: int, deadline: float) -> list[int]:
    """Node ids once as many as are expected are there, or after a grace period, at most half of the time."""
    started = time.time()
    patience = started + min(_NODES_GRACE_S, (deadline - started) / 2)
    while len(nodes := list(grid.get_node_ids())) < expected and time.time() < patience:
        time.sleep(_pause(started))
    return nodes


def _pause(waited_since: float) -> float:
    """Seconds until the next look: a tenth of what was waited so far, within bounds."""
    return min(_LONGEST_POLL_S, max(_SHORTEST_POLL_S, (time.time() - waited_since) / 10))
