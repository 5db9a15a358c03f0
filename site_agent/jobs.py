"""What a message makes a site do."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from federation import distances
from federation.canonical import canonical_json
from federation.errors import DeadlineError, FedprintError, PolicyError
from federation.files import write_atomically
from federation.fingerprint import Fingerprint
from federation.identity import Identity
from federation.messages import (
    DONE,
    WITHHELD,
    FingerprintRequest,
    JobHeader,
    ListenRequest,
    SiteReply,
    TaskResult,
)
from federation.ranking import Candidates, Recommendation, rank_sources
from federation.sampling import SamplingPlan
from federation.space import Space
from federation.trust import TrustMode
from site_agent.aggregators import require_known_aggregator
from site_agent.config import SiteConfig
from site_agent.data import open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.extraction import Work, sketch_once
from site_agent.extractors import Acceleration, Extractor, ExtractorSpec, load_extractor
from site_agent.progress import Progress, report
from site_agent.release import Candidate, check_mode, release
from site_agent.state import SiteState

log = logging.getLogger("fedprint.site")
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
    """Release fingerprints of every task whose trust mode allows it.

    A task that fails does not stop the others. A job that was answered before is answered with the stored
    bytes.
    """

    def fingerprint(dataset: DatasetConfig) -> TaskResult:
        mode = site.config.mode(dataset)
        check_mode(dataset.task, mode)
        if mode is TrustMode.LISTEN:
            return TaskResult(dataset.task, WITHHELD)
        stored = site.state.release(request.job.job_id, dataset.task)
        if stored is None:
            candidate = _candidate(site, dataset, request.space, request.sampling, request.job)
            stored = release(candidate, mode, site.identity, site.state, request.job.job_id)
        return TaskResult(dataset.task, DONE, stored)

    return _answer_for_each_task(site, request.job, fingerprint)


def rank_locally(site: Site, request: ListenRequest) -> SiteReply:
    """Rank the catalogue for every listening task and keep the ranking at the site."""

    @cache
    def catalogue() -> list[Fingerprint]:
        return [Fingerprint.from_bytes(encoded).bind(request.space) for encoded in request.catalogue]

    def rank(dataset: DatasetConfig) -> TaskResult:
        if site.config.mode(dataset) is not TrustMode.LISTEN:
            return TaskResult(dataset.task, WITHHELD)
        candidate = _candidate(site, dataset, request.space, request.sampling, request.job)
        target = candidate.fingerprint(site.config.name, TrustMode.LISTEN)
        ranking = _rank(target, catalogue(), request.space, request.distance)
        content = canonical_json([asdict(choice) for choice in ranking])
        write_atomically(site.state.ranking_path(dataset.task), content)
        site.state.record("ranked", job=request.job.job_id, task=dataset.task, sources=len(ranking))
        return TaskResult(dataset.task, DONE)

    return _answer_for_each_task(site, request.job, rank)


def _answer_for_each_task(
    site: Site, job: JobHeader, work: Callable[[DatasetConfig], TaskResult]
) -> SiteReply:
    try:
        require_known_aggregator(job.aggregator, site.config.aggregators)
    except PolicyError as error:
        site.state.record("refused", job=job.job_id, code=error.code, text=str(error))
        return SiteReply(site.config.name, job.job_id, job.nonce, code=error.code)
    results = tuple(_guarded(site, job, dataset, work) for dataset in site.config.dataset)
    return SiteReply(site.config.name, job.job_id, job.nonce, results)


def _guarded(
    site: Site, job: JobHeader, dataset: DatasetConfig, work: Callable[[DatasetConfig], TaskResult]
) -> TaskResult:
    """Turn any failure into a code; the text goes to the site's own log."""
    try:
        if time.time() > job.deadline:
            raise DeadlineError(f"task {dataset.task} was not begun before the deadline")
        return work(dataset)
    except FedprintError as error:
        code, text = error.code, str(error)
    except Exception as error:
        log.exception("task %s failed", dataset.task)
        code, text = "internal", f"{type(error).__name__}: {error}"
    site.state.record("failed", job=job.job_id, task=dataset.task, code=code, text=text)
    return TaskResult(dataset.task, code)


def _candidate(
    site: Site, dataset: DatasetConfig, space: Space, sampling: SamplingPlan, job: JobHeader
) -> Candidate:
    source = open_source(dataset)
    extractor = _extractor(site.config, space)
    work = Work(source, space, sampling, dataset.max_unreadable, job.deadline)
    sketched = sketch_once(
        work,
        extractor,
        site.state.sketches,
        lambda done, total: report(Progress(site.config.name, dataset.task, done, total)),
    )
    for bad in sketched.unreadable:
        site.state.record("unreadable", job=job.job_id, task=dataset.task, image=bad.name, text=bad.reason)
    card = dataset.card(sketched.n, source.class_counts())
    n_unreadable = len(sketched.unreadable)
    return Candidate(card, sketched.sketches, space, sampling, sketched.arithmetic, n_unreadable)


def _rank(
    target: Fingerprint, catalogue: list[Fingerprint], space: Space, distance: str
) -> list[Recommendation]:
    sources = [fingerprint for fingerprint in catalogue if fingerprint.key != target.key]
    names = distances.available(space, distance)
    values = {name: distances.get(name).matrix(sources, [target])[:, 0] for name in names}
    cards = {known.key: known.card for known in (*sources, target)}
    return rank_sources(Candidates(target.key, [s.key for s in sources], values, cards), distance)


def _extractor(config: SiteConfig, space: Space) -> Extractor:
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
def _load(spec: ExtractorSpec, acceleration: Acceleration) -> Extractor:
    return load_extractor(spec, acceleration=acceleration)
