"""Listening: a site ranks the public catalogue for its own tasks, and nothing leaves."""

from dataclasses import asdict
from functools import cache

from federation import distances
from federation.canonical import canonical_json
from federation.distances.uncertainty import standard_errors
from federation.files import write_atomically
from federation.fingerprint import Fingerprint
from federation.messages import DONE, WITHHELD, ListenRequest, SiteReply, TaskResult
from federation.ranking import Candidates, Recommendation, rank_sources
from federation.space import Space
from federation.trust import TrustMode
from site_agent.data import open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.jobs import RELEASED, Site, answer_for_each_task, candidate_of
from site_agent.policy import Policy
from site_agent.sketch_work import Work


def rank_locally(site: Site, request: ListenRequest) -> SiteReply:
    """Rank the catalogue for every listening or pooled task and keep the ranking at the site."""

    @cache
    def catalogue() -> list[Fingerprint]:
        return [Fingerprint.from_bytes(encoded).bind(request.space) for encoded in request.catalogue]

    def rank(dataset: DatasetConfig, policy: Policy) -> TaskResult:
        if site.config.mode(dataset) in RELEASED:
            return TaskResult(dataset.task, WITHHELD)
        source = open_source(dataset)
        work = Work(source, request.space, request.sampling, dataset.max_unreadable, request.job.deadline)
        candidate = candidate_of(site, dataset, work, source.class_counts(), request.job)
        target = candidate.fingerprint(site.config.name, TrustMode.LISTEN)
        cohort = policy.task(dataset.task).cohort
        # The sum holds the target's own images, which would make it the nearest source.
        others = [known for known in catalogue() if cohort is None or known.site != cohort.name]
        ranking = _rank(target, others, request.space, request.distance)
        content = canonical_json([asdict(choice) for choice in ranking])
        write_atomically(site.state.ranking_path(dataset.task), content)
        site.state.record("ranked", job=request.job.job_id, task=dataset.task, sources=len(ranking))
        return TaskResult(dataset.task, DONE)

    return answer_for_each_task(site, request.job, rank)


def _rank(
    target: Fingerprint, catalogue: list[Fingerprint], space: Space, distance: str
) -> list[Recommendation]:
    sources = [fingerprint for fingerprint in catalogue if fingerprint.key != target.key]
    names = distances.available(space, distances.chosen(space, distance))
    values = {name: distances.get(name).matrix(sources, [target])[:, 0] for name in names}
    ranked_by = distances.get(distance)
    errors = standard_errors(ranked_by, space, values[distance][:, None], sources, [target])[:, 0]
    cards = {known.key: known.card for known in (*sources, target)}
    keys = [known.key for known in sources]
    return rank_sources(Candidates(target.key, keys, values, cards, {distance: errors}), distance)
