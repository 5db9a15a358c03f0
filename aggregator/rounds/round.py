"""One question to every site: push, poll, and take what comes by the deadline."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

from federation.errors import FedprintError
from federation.identity import Identity
from federation.messages import JobHeader, Request, SiteReply

log = logging.getLogger("fedprint.hub")

NO_REPLY = "no-reply"
INVALID_REPLY = "invalid-reply"
_POLL_S = 0.2
_NODES_GRACE_S = 30.0


@dataclass(frozen=True)
class RoundResult:
    """What came back.

    Args:
        replies: Site → its verified reply.
        missing: Site → why it has none.
    """

    replies: Mapping[str, SiteReply] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def ask_everyone(
    grid: Grid,
    aggregator: Identity,
    message_type: str,
    make_request: Callable[[JobHeader], Request],
    *,
    job_id: str,
    timeout_s: float,
    roster: Mapping[str, str],
) -> RoundResult:
    """Send one signed request to every connected node and collect verified replies.

    Every node gets a nonce of its own. Replies are attributed to sites by signature, never by node id; a
    second valid reply of the same site is refused.

    Args:
        grid: Flower's grid.
        aggregator: Who asks, and signs.
        message_type: ``"query.…"``.
        make_request: Builds the request from its job header.
        job_id: Id of the job.
        timeout_s: Seconds to wait.
        roster: Site → public key.
    """
    deadline = time.time() + timeout_s
    pending: dict[str, JobHeader] = {}
    for node_id in _connected(grid, len(roster), deadline):
        job = JobHeader(job_id, secrets.token_hex(16), deadline, aggregator.public_key)
        message = Message(make_request(job).to_record(aggregator), node_id, message_type, group_id=job_id)
        pending.update(dict.fromkeys(grid.push_messages([message]), job))
    replies: dict[str, SiteReply] = {}
    problems: list[str] = []
    while pending and time.time() < deadline:
        messages = list(grid.pull_messages(list(pending)))
        for message in messages:
            job = pending.pop(message.metadata.reply_to_message_id)
            _take(message, job, roster, replies, problems)
        if not messages:
            time.sleep(_POLL_S)
    silent = [site for site in roster if site not in replies]
    # Which node belongs to a silent site is unknown, so a problem names a site only when nothing else can.
    reason = problems[0] if len(silent) == len(problems) == 1 else NO_REPLY
    return RoundResult(replies, dict.fromkeys(silent, reason))


def _connected(grid: Grid, expected: int, deadline: float) -> list[int]:
    """Node ids once as many as the roster has are there, or after a grace period."""
    patience = min(deadline, time.time() + _NODES_GRACE_S)
    while len(nodes := list(grid.get_node_ids())) < expected and time.time() < patience:
        time.sleep(_POLL_S)
    return nodes


def _take(
    message: Message,
    job: JobHeader,
    roster: Mapping[str, str],
    replies: dict[str, SiteReply],
    problems: list[str],
) -> None:
    if message.has_error():
        problems.append(message.error.reason or f"flower-{message.error.code}")
        log.warning("a site could not answer: %s", problems[-1])
        return
    try:
        reply = SiteReply.from_record(message.content, roster, job)
    except FedprintError as error:
        problems.append(INVALID_REPLY)
        log.warning("a reply was refused: %s", error)
        return
    if reply.site in replies:
        problems.append(INVALID_REPLY)
        log.warning("a second reply in the name of site %s was refused", reply.site)
        return
    replies[reply.site] = reply
