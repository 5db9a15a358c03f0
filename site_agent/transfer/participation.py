"""How a site takes part in transfer experiments: whom it answers, what it agrees to, what its log says."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from federation.errors import (
    BusyError,
    DeadlineError,
    FedprintError,
    MessageError,
    StoreError,
    TransferError,
    UnknownNameError,
)
from federation.messages import DONE, JobHeader
from federation.transfer.messages import (
    RUNNING,
    WANTS_MODEL,
    Offer,
    RollCallReply,
    RollCallRequest,
    TransferReply,
    TransferRequest,
)
from federation.transfer.step import Step
from site_agent.dataset_config import DatasetConfig
from site_agent.events import MODEL_LEFT, REFUSED
from site_agent.jobs import Site
from site_agent.policy import Policy, TaskPolicy
from site_agent.transfer.arrival import start_of, store_of
from site_agent.transfer.departure import recipients, require_departure, require_paid
from site_agent.transfer.step_files import Ended, Running, SiteSteps, StepFiles
from site_agent.transfer.turn import FAILED, Turn
from site_agent.transfer.work import Asked, Work

log = logging.getLogger("fedprint.site")


def _train(asked: Asked) -> Work:
    from site_agent.transfer.train_work import TrainWork

    return TrainWork(asked)


def _search(asked: Asked) -> Work:
    from site_agent.transfer.search_work import SearchWork

    return SearchWork(asked)


def _cotrain(asked: Asked) -> Work:
    from site_agent.transfer.cotraining import CotrainWork

    return CotrainWork(asked)


WORK: dict[str, Callable[[Asked], Work]] = {"train": _train, "search": _search, "cotrain": _cotrain}
"""What a site can do, by the kind of the step; PyTorch is loaded when the work begins."""

"""What the site's log calls a roll call that was refused, and a model that leaves."""


def answer_step(site: Site, request: TransferRequest) -> TransferReply:
    """Work on a step for a while, and say how far it is.

    A step that is done is answered the same for ever. Whatever goes wrong becomes a code; its text stays in
    the site's log.
    """
    try:
        return _answer(site, request)
    except BusyError as error:
        return _reply(site, request, error.code)
    except FedprintError as error:
        code, text = error.code, str(error)
    except Exception as error:
        log.exception("a step of a transfer experiment failed")
        code, text = "internal", f"{type(error).__name__}: see the site's console"
    step = request.step
    _note(site, FAILED, request.job, code, text, step=step.step_id, kind=step.kind, task=step.task)
    return _reply(site, request, code)


def answer_roll_call(site: Site, request: RollCallRequest) -> RollCallReply:
    """Say who is here, and what the policy lets each task take part in."""
    job = request.job
    try:
        policy = _policy(site, job)
        offers = (offer_of(policy.task(dataset.task)) for dataset in site.config.dataset)
        present = tuple(offer for offer in offers if offer is not None)
        return RollCallReply(site.config.name, job.job_id, job.nonce, present)
    except FedprintError as error:
        code, text = error.code, str(error)
    except Exception as error:
        log.exception("a roll call failed")
        code, text = "internal", f"{type(error).__name__}: see the site's console"
    _note(site, REFUSED, job, code, text)
    return RollCallReply(site.config.name, job.job_id, job.nonce, code=code)


def offer_of(allowed: TaskPolicy) -> Offer | None:
    """Return what a task may take part in; None: nothing."""
    policy = allowed.transfer
    if policy is None:
        return None
    return Offer(
        allowed.name,
        bool(policy.metrics_because),
        policy.models or "",
        tuple(sorted(policy.models_to or ())) if policy.models else (),
        str(allowed.terms.release_rho) if policy.models == "private" else "",
        tuple(sorted(policy.networks)),
    )


def _answer(site: Site, request: TransferRequest) -> TransferReply:
    allowed, dataset = _allowed(site, request)
    steps = SiteSteps(site.state.folder)
    files = steps.of(request.step.step_id)
    ended = files.ended()
    if ended is not None:
        files.tidy(ended)
        return _final(site, request, ended, allowed)
    with steps.alone():
        ended = files.ended()
        known = ended or _worked(site, request, files, allowed, dataset)
    if known is None:
        return _reply(site, request, WANTS_MODEL)
    if isinstance(known, Running):
        return replace(_reply(site, request, RUNNING), progress=known.progress)
    return _final(site, request, known, allowed)


def _worked(
    site: Site, request: TransferRequest, files: StepFiles, allowed: TaskPolicy, dataset: DatasetConfig
) -> Running | Ended | None:
    """Work on a step, and return how far it is or how it ended; None where its first weights are not here."""
    step = request.step
    if step.kind not in WORK:
        raise TransferError(
            f"nobody here knows steps of kind {step.kind}", remedy="use the same fedprint version everywhere"
        )
    start = start_of(site, allowed, request)
    if start is None and step.model_id is not None:
        return None
    asked = Asked(site, allowed, request.job, step, dataset, files.folder, start)
    return Turn(asked, files, WORK[step.kind]).take(request.slice_s)


def _allowed(site: Site, request: TransferRequest) -> tuple[TaskPolicy, DatasetConfig]:
    """Return policy and images of the task, if the policy as it is now allows all of the step."""
    policy = _policy(site, request.job)
    dataset = _dataset(site, request.step)
    allowed = policy.task(dataset.task)
    require_departure(allowed, request.step)
    allowed.in_transfer.require_network(request.step.network)
    return allowed, dataset


def _policy(site: Site, job: JobHeader) -> Policy:
    """Return the policy as it is now, if it names who asks and there is time to answer."""
    policy = Policy.read(site.config.policy_path)
    policy.check_aggregator(job.aggregator)
    if time.time() > job.deadline:
        raise DeadlineError(f"job {job.job_id} was not begun before its deadline")
    return policy


def _dataset(site: Site, step: Step) -> DatasetConfig:
    if step.site != site.config.name:
        raise MessageError(f"a step for site {step.site} was sent to {site.config.name}")
    for dataset in site.config.dataset:
        if dataset.task == step.task:
            return dataset
    raise UnknownNameError(f"site {site.config.name} has no task {step.task}", remedy="ask for one it has")


def _final(site: Site, request: TransferRequest, ended: Ended, allowed: TaskPolicy) -> TransferReply:
    """Return the answer about a step that ended, and log a model that leaves with it."""
    if ended.result is None:
        return _reply(site, request, ended.code)
    if ended.result.model_id is not None:
        require_paid(allowed, request.step, ended.result)
    model = _leaving_model(site, request, ended.result.model_id)
    return replace(_reply(site, request, DONE), result=ended.result, model=model)


def _leaving_model(site: Site, request: TransferRequest, model_id: str | None) -> bytes:
    """Return the model that leaves, logged before it does; nothing where none does."""
    step, to = request.step, recipients(request.step)
    if model_id is None or not to:
        return b""
    model = store_of(site).get(model_id)
    if model is None:
        raise StoreError(
            f"the model {model_id} of step {step.step_id} is missing or damaged",
            remedy="restore the site's state folder from backup",
        )
    site.state.record(
        MODEL_LEFT,
        job=request.job.job_id,
        aggregator=request.job.aggregator,
        step=step.step_id,
        task=step.task,
        model=model_id,
        to=list(to),
    )
    return model


def _reply(site: Site, request: TransferRequest, state: str) -> TransferReply:
    job = request.job
    return TransferReply(site.config.name, job.job_id, job.nonce, request.step.step_id, state)


def _note(site: Site, event: str, job: JobHeader, code: str, text: str, **about: str) -> None:
    """Log what went wrong; where the log cannot be written either, the console has it."""
    try:
        site.state.record(event, job=job.job_id, code=code, text=text, **about)
    except StoreError as error:
        log.error("%s: %s (%s)", event, text, error)
