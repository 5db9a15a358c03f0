"""A hub in Prometheus' terms: names of sites, kinds of jobs and codes, nothing of patients."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from aggregator.jobs.job import STATES
from aggregator.members import Member, Standing
from aggregator.operations.catalogue_reading import CatalogueReading
from aggregator.operations.hub_reading import HubParts
from federation.operations import families
from federation.operations.collector import PartsCollector


class HubCollector(PartsCollector):
    """Reads a hub whenever somebody asks for its metrics.

    Args:
        parts: What is read.
    """

    def __init__(self, parts: HubParts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of everything that can be read."""
        reading = self._parts.read()
        yield families.build(side="hub", member=reading.consortium)
        yield families.problems(reading.readings.codes, self._parts.names)
        up = float(reading.catalogue is not None)
        yield families.gauge("fedprint_hub_database_up", "Whether the catalogue can be read.", up)
        if reading.catalogue is not None:
            yield from _of_catalogue(reading.catalogue)
        if reading.members is not None:
            yield _of_members(reading.members)
        yield families.of_ends(reading.ends)
        if reading.processes is not None:
            yield from families.of_processes(reading.processes)
        if reading.disk is not None:
            yield from families.of_disk(reading.disk)


def _of_catalogue(known: CatalogueReading) -> Iterator[Metric]:
    kinds = {kind for kind, _ in known.jobs}
    jobs = {(kind, state): known.jobs.get((kind, state), 0) for kind in kinds for state in STATES}
    attempts = {(kind,): float(n) for kind, n in known.attempts.items()}
    ended = {(kind,): at for kind, at in known.last_finished.items()}
    yield families.gauges("fedprint_hub_jobs", "Jobs of the catalogue.", ("kind", "state"), jobs)
    yield families.gauge("fedprint_hub_queue_length", "Jobs that wait for their turn.", known.waiting)
    yield families.counters("fedprint_hub_job_attempts", "How often jobs were begun.", ("kind",), attempts)
    yield families.counters(
        "fedprint_hub_job_failures", "Jobs that failed.", ("kind", "code"), known.failures
    )
    yield families.gauges(
        "fedprint_hub_job_last_done_timestamp_seconds", "When a job was last done.", ("kind",), ended
    )
    yield families.gauge("fedprint_hub_fingerprints", "Fingerprints that are current.", known.fingerprints)
    yield families.counter("fedprint_hub_log_entries", "Entries of the log.", known.log_entries)


def _of_members(members: tuple[Member, ...]) -> Metric:
    counted = Counter(member.standing for member in members)
    return families.gauges(
        "fedprint_hub_members",
        "Sites by what their membership counts for.",
        ("standing",),
        {(standing.value,): counted[standing] for standing in Standing},
    )
