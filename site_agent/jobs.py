"""What a message makes a site do."""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from federation.errors import (
    DeadlineError,
    FedprintError,
    FingerprintError,
    PolicyError,
    StoreError,
)
from federation.fingerprint import Fingerprint
from federation.identity import Identity
from federation.messages import (
    DONE,
    WITHHELD,
    FingerprintRequest,
    JobHeader,
    SiteReply,
    TaskResult,
)
from federation.space import Space
from federation.trust import TrustMode
from site_agent.approval import require_approved
from site_agent.config import SiteConfig
from site_agent.data import ImageSource, open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.events import FAILED, REFUSED
from site_agent.extractor_spec import ExtractorSpec
from site_agent.kept_sketches import sketch_once
from site_agent.ledger.book import Ledger
from site_agent.network.mode import Acceleration
from site_agent.patients import bound_patients
from site_agent.pending import ReleaseFiles
from site_agent.policy import Policy, TaskPolicy
from site_agent.private_release import PrivateRelease
from site_agent.progress import Progress, report
from site_agent.release import Candidate, release_openly
from site_agent.settlement import Settlement
from site_agent.sketch_work import Sketched, Work
from site_agent.state import SiteState

if TYPE_CHECKING:
    from site_agent.extractors import Extractor

log = logging.getLogger("fedprint.site")
Answering: TypeAlias = Callable[[DatasetConfig, Policy], TaskResult]
"""What is done for a task whose policy is known."""
_loading = threading.Lock()


@dataclass(frozen=True)
class Site:
    """A running site: configuration, signing key, durable memory."""

    config: SiteConfig
    identity: Identity
    state: SiteState

    @classmethod
    def open(cls, path: Path) -> "Site":
        """Start a site from its configuration file.

        Raises:
            ConfigError: If the file is wrong.
            StoreError: If the key cannot be read or made.
        """
        config = SiteConfig.read(path)
        state = SiteState(config.state)
        return cls(config, Identity.load_or_create(config.name, state.key_path), state)


def fingerprint_tasks(site: Site, request: FingerprintRequest) -> SiteReply:
    """Release fingerprints of every task whose trust mode and policy allow it.

    Of a pooled task nothing leaves but its part in a round. A task that fails does not stop the others. A job
    that was answered before is answered with the stored bytes.
    """

    def fingerprint(dataset: DatasetConfig, policy: Policy) -> TaskResult:
        mode, allowed = site.config.mode(dataset), policy.task(dataset.task)
        allowed.require(mode)
        if mode not in _RELEASES:
            return TaskResult(dataset.task, WITHHELD)
        allowed.check_request(request.space, request.job.aggregator)
        if mode is TrustMode.PRIVATE:
            _finish_what_was_charged(site, dataset.task, request.space)
        stored = _stored(site, dataset.task, mode, request)
        if stored is None:
            stored = _RELEASES[mode](site, dataset, request, allowed)
        return TaskResult(dataset.task, DONE, stored)

    return answer_for_each_task(site, request.job, fingerprint)


def _stored(site: Site, task: str, mode: TrustMode, request: FingerprintRequest) -> bytes | None:
    """Return what the job was answered with before.

    Raises:
        PolicyError: If it was about another space, or the task was released in another mode then.
        StoreError: If it is damaged.
    """
    job_id = request.job.job_id
    stored = site.state.release(job_id, task)
    if stored is None:
        return None
    known = _kept(stored, job_id, task)
    if known.space_id != request.space.space_id:
        raise PolicyError(
            f"job {job_id} was answered for task {task} in another space",
            remedy="ask under a job id of its own",
        )
    if known.privacy.mode is not mode:
        raise PolicyError(
            f"job {job_id} was answered for task {task} in mode {known.privacy.mode.value}, "
            f"which is {mode.value} now",
            remedy="ask under a job id of its own",
        )
    return stored


def _kept(stored: bytes, job_id: str, task: str) -> Fingerprint:
    try:
        return Fingerprint.from_bytes(stored)
    except FingerprintError as error:
        raise StoreError(
            f"what job {job_id} was answered with for task {task} is damaged; nothing leaves",
            remedy="restore the site's state folder from backup; a job of another id can be answered",
        ) from error


def _open(site: Site, dataset: DatasetConfig, request: FingerprintRequest, allowed: TaskPolicy) -> bytes:
    del allowed
    source = open_source(dataset)
    work = Work(source, request.space, request.sampling, dataset.max_unreadable, request.job.deadline)
    candidate = candidate_of(site, dataset, work, source.class_counts(), request.job)
    return release_openly(candidate, site.identity, site.state, request.job.job_id)


def _private(site: Site, dataset: DatasetConfig, request: FingerprintRequest, allowed: TaskPolicy) -> bytes:
    terms, job = allowed.terms, request.job
    require_approved(site.state, dataset.private_card())

    def sketch(source: ImageSource) -> Sketched:
        patients = bound_patients(source, terms.images_per_patient)
        limit, levels, rho = dataset.max_unreadable, terms.levels, terms.release_rho
        # Giving up in the middle would tell how many images there are; what is late is sent when asked again.
        work = Work.of_patients(patients, request.space, limit, math.inf, levels, rho)
        return exact_sketches(site, dataset, work, job)

    return PrivateRelease(
        _settlement(site, dataset.task, request.space),
        allowed,
        request.space,
        job.job_id,
        lambda: open_source(dataset),
        dataset.private_card(),
        sketch,
    ).release()


def _finish_what_was_charged(site: Site, task: str, space: Space) -> None:
    """Finish what a crash interrupted, so that it is on record before anything is answered."""
    if ReleaseFiles(site.state.folder, task, space.space_id).pending_path.exists():
        with _settlement(site, task, space).alone():
            pass


def _settlement(site: Site, task: str, space: Space) -> Settlement:
    return Settlement(site.identity, site.state, ledger_of(site), task, space.space_id)


def ledger_of(site: Site) -> Ledger:
    """Return the ledger of a site; one that never released with noise gets a new one.

    Raises:
        LedgerError: If it is missing or damaged.
        StoreError: If it cannot be written.
    """
    return _ledger(site.config.name, site.state)


@cache
def _ledger(name: str, state: SiteState) -> Ledger:
    """Return the ledger of a site, which stays open: what was verified once need not be again."""
    return Ledger.open(state.folder, Identity.load_or_create(name, state.key_path))


_RELEASES = {TrustMode.OPEN: _open, TrustMode.PRIVATE: _private}
RELEASED = frozenset(_RELEASES)
"""Modes in which a fingerprint of the task itself leaves."""


def answer_for_each_task(site: Site, job: JobHeader, work: Answering) -> SiteReply:
    """Answer an aggregator that the policy names, task by task; without a policy nobody is answered."""
    try:
        policy = Policy.read(site.config.policy_path)
        policy.check_aggregator(job.aggregator)
    except FedprintError as error:
        site.state.record(REFUSED, job=job.job_id, code=error.code, text=str(error))
        return SiteReply(site.config.name, job.job_id, job.nonce, code=error.code)
    results = tuple(_guarded(site, job, dataset, policy, work) for dataset in site.config.dataset)
    return SiteReply(site.config.name, job.job_id, job.nonce, results)


def _guarded(
    site: Site, job: JobHeader, dataset: DatasetConfig, policy: Policy, work: Answering
) -> TaskResult:
    """Turn any failure into a code; the text goes to the site's own log."""
    try:
        if time.time() > job.deadline:
            raise DeadlineError(f"task {dataset.task} was not begun before the deadline")
        return work(dataset, policy)
    except FedprintError as error:
        code, text = error.code, str(error)
    except Exception as error:
        log.exception("task %s failed", dataset.task)
        code, text = "internal", f"{type(error).__name__}: {error}"
    site.state.record(FAILED, job=job.job_id, task=dataset.task, code=code, text=text)
    return TaskResult(dataset.task, code)


def candidate_of(
    site: Site, dataset: DatasetConfig, work: Work, classes: Mapping[str, int], job: JobHeader
) -> Candidate:
    """Return the exact sketches of a task with its card; nothing leaves yet."""
    sketched = exact_sketches(site, dataset, work, job)
    card, n_unreadable = dataset.card(sketched.n, classes), len(sketched.unreadable)
    return Candidate(card, sketched.sketches, work.space, work.sampling, sketched.arithmetic, n_unreadable)


def exact_sketches(site: Site, dataset: DatasetConfig, work: Work, job: JobHeader) -> Sketched:
    """Return the exact sketches of a task, and leave unreadable images in the site's log."""
    sketched = sketch_once(
        work,
        lambda: _extractor(site.config, work.space),
        site.config.acceleration,
        site.state.sketches,
        lambda done, total: report(Progress(site.config.name, dataset.task, done, total)),
    )
    for bad in sketched.unreadable:
        site.state.record("unreadable", job=job.job_id, task=dataset.task, image=bad.name, text=bad.reason)
    return sketched


def _extractor(config: SiteConfig, space: Space) -> "Extractor":
    """Return the extractor that the space names, from the site's own copy of the weights.

    Raises:
        SpaceMismatchError: If the site's weights are not those of the space.
    """
    identity = space.extractor
    spec = ExtractorSpec(
        identity.library,
        identity.name,
        config.weights.source,
        config.weights.sha256,
        identity.transform.image_size,
        identity.transform.preprocessing,
        identity.layers,
    )
    with _loading:
        extractor = _load(spec, config.acceleration)
    replace(space, extractor=extractor.identity).require_same(space)
    return extractor


@cache
def _load(spec: ExtractorSpec, acceleration: Acceleration) -> "Extractor":
    from site_agent.extractors import load_extractor  # loads PyTorch

    return load_extractor(spec, acceleration=acceleration)
