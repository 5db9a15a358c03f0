"""Flower's entry to a site: decode the message, do the job, encode the reply.

Whatever goes wrong, only a code leaves; the text stays in the site's log.

Every message starts a process of its own, so that each handler imports no more than it needs.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from federation.errors import ConfigError, FedprintError
from federation.messages import FingerprintRequest, ListenRequest, SiteReply
from site_agent.jobs import Site, fingerprint_tasks

if TYPE_CHECKING:
    from federation.round_messages import StepReply
    from federation.transfer.messages import RollCallReply, TransferReply

Reply: TypeAlias = "SiteReply | StepReply | TransferReply | RollCallReply"
log = logging.getLogger("fedprint.site")
app = ClientApp()

REFUSED = 100
"""Flower error code of a request that got no signed answer."""


@app.query("fingerprint")
def fingerprint(message: Message, context: Context) -> Message:
    """Answer a request for fingerprints."""
    return _answer(
        message,
        context,
        lambda site: fingerprint_tasks(site, FingerprintRequest.from_record(message.content)),
    )


@app.query("listen")
def listen(message: Message, context: Context) -> Message:
    """Rank the catalogue for the site's own tasks; nothing leaves but 'done'."""
    from site_agent.local_ranking import rank_locally

    return _answer(
        message, context, lambda site: rank_locally(site, ListenRequest.from_record(message.content))
    )


@app.query("round")
def take_part(message: Message, context: Context) -> Message:
    """Answer one step of a round in which a cohort sums its sketches."""
    from federation.round_messages import read_request
    from site_agent.rounds.participation import answer_round

    return _answer(message, context, lambda site: answer_round(site, read_request(message.content)))


@app.query("transfer")
def work_on_step(message: Message, context: Context) -> Message:
    """Work on a step of a transfer experiment for a while."""
    from federation.transfer.messages import TransferRequest
    from site_agent.transfer.participation import answer_step

    return _answer(
        message, context, lambda site: answer_step(site, TransferRequest.from_record(message.content))
    )


@app.query("roll_call")
def answer_to_name(message: Message, context: Context) -> Message:
    """Say who is here, and what the policy lets it take part in."""
    from federation.transfer.messages import RollCallRequest
    from site_agent.transfer.participation import answer_roll_call

    return _answer(
        message, context, lambda site: answer_roll_call(site, RollCallRequest.from_record(message.content))
    )


def _answer(message: Message, context: Context, job: Callable[[Site], Reply]) -> Message:
    try:
        site = Site.open(_config_path(context))
        return Message(job(site).to_record(site.identity), reply_to=message)
    except FedprintError as error:
        log.error("request refused: %s", error)
        return Message(Error(REFUSED, error.code), reply_to=message)
    except Exception:
        log.exception("request failed")
        return Message(Error(REFUSED, "internal"), reply_to=message)


def _config_path(context: Context) -> Path:
    path = context.node_config.get("site-config")
    if not isinstance(path, str):
        raise ConfigError(
            "the SuperNode was started without site-config",
            remedy="add --node-config 'site-config=\"/path/to/site.toml\"'",
        )
    return Path(path)
