"""Flower's entry to a site: open and decode the message, do the job, encode and seal the reply.

Requests are opened and replies sealed here, so that nothing else at the site knows of it. Whatever goes
wrong, only a code leaves; the text stays in the site's log.

Every message starts a process of its own, so that each handler imports no more than it needs.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from federation import logs
from federation.errors import ConfigError, FedprintError
from federation.messages import FingerprintRequest, JobHeader, ListenRequest, SiteReply
from federation.sealed_record import check_addressed, open_request, seal_reply
from site_agent.events import SENT
from site_agent.hub_log.copy import require_undisputed
from site_agent.jobs import Site, fingerprint_tasks

if TYPE_CHECKING:
    from federation.log.messages import WitnessReply
    from federation.round_messages import StepReply
    from federation.transfer.messages import RollCallReply, TransferReply


class _Asked(Protocol):
    """Any request."""

    @property
    def job(self) -> JobHeader:
        """Who asks, under which job."""


Reply: TypeAlias = "SiteReply | StepReply | TransferReply | RollCallReply | WitnessReply"
Request = TypeVar("Request", bound=_Asked)
log = logging.getLogger("fedprint.site")
app = ClientApp()

REFUSED = 100
"""Flower error code of a request that got no signed answer."""


@app.query("fingerprint")
def fingerprint(message: Message, context: Context) -> Message:
    """Answer a request for fingerprints."""
    return _answer(message, context, FingerprintRequest.from_record, fingerprint_tasks)


@app.query("listen")
def listen(message: Message, context: Context) -> Message:
    """Rank the catalogue for the site's own tasks; nothing leaves but 'done'."""
    from site_agent.local_ranking import rank_locally

    return _answer(message, context, ListenRequest.from_record, rank_locally)


@app.query("round")
def take_part(message: Message, context: Context) -> Message:
    """Answer one step of a round in which a cohort sums its sketches."""
    from federation.round_messages import read_request
    from site_agent.rounds.participation import answer_round

    return _answer(message, context, read_request, answer_round)


@app.query("transfer")
def work_on_step(message: Message, context: Context) -> Message:
    """Work on a step of a transfer experiment for a while."""
    from federation.transfer.messages import TransferRequest
    from site_agent.transfer.participation import answer_step

    return _answer(message, context, TransferRequest.from_record, answer_step)


@app.query("roll_call")
def answer_to_name(message: Message, context: Context) -> Message:
    """Say who is here, and what the policy lets it take part in."""
    from federation.transfer.messages import RollCallRequest
    from site_agent.transfer.participation import answer_roll_call

    return _answer(message, context, RollCallRequest.from_record, answer_roll_call)


@app.query("witness")
def witness(message: Message, context: Context) -> Message:
    """Verify and co-sign the aggregator's log."""
    from federation.log.messages import WitnessRequest
    from site_agent.hub_log.witness import answer_witness

    return _answer(message, context, WitnessRequest.from_record, answer_witness)


def _answer(
    message: Message,
    context: Context,
    read: Callable[[RecordDict], Request],
    job: Callable[[Site, Request], Reply],
) -> Message:
    try:
        site = Site.open(_config_path(context))
        return Message(_sealed_answer(site, message.content, read, job), reply_to=message)
    except FedprintError as error:
        log.error("request refused: %s", error)
        return Message(Error(REFUSED, error.code), reply_to=message)
    except Exception:
        log.exception("request failed")
        return Message(Error(REFUSED, "internal"), reply_to=message)


def _sealed_answer(
    site: Site,
    sealed: RecordDict,
    read: Callable[[RecordDict], Request],
    job: Callable[[Site, Request], Reply],
) -> RecordDict:
    request = read(open_request(sealed, site.identity))
    asked = request.job
    check_addressed(asked, site.identity)
    require_undisputed(site.config, asked.aggregator)
    with logs.job(asked.job_id):
        reply = seal_reply(job(site, request).to_record(site.identity), asked)
        site.state.record(SENT, job=asked.job_id, aggregator=asked.aggregator, bytes=_n_bytes(reply))
        log.info("%s is answered; %d bytes leave", type(request).__name__, _n_bytes(reply))
        return reply


def _n_bytes(record: RecordDict) -> int:
    return sum(len(array.data) for arrays in record.array_records.values() for array in arrays.values())


def _config_path(context: Context) -> Path:
    path = context.node_config.get("site-config")
    if not isinstance(path, str):
        raise ConfigError(
            "the SuperNode was started without site-config",
            remedy="add --node-config 'site-config=\"/path/to/site.toml\"'",
        )
    return Path(path)
