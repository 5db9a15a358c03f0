"""Metrics that both sides have, in Prometheus' terms."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

import federation
from federation.operations.disk import Disk
from federation.operations.processes import Process

Labels = TypeVar("Labels", bound=tuple[str, ...])
"""Values of labels."""


def gauge(name: str, text: str, value: float) -> Metric:
    """Return a value that goes up and down."""
    return GaugeMetricFamily(name, text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """Return a value that only goes up."""
    return CounterMetricFamily(name, text, value=value)


def gauges(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """Return values that go up and down, by labels."""
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def counters(name: str, text: str, labels: Sequence[str], values: Mapping[Labels, float]) -> Metric:
    """Return values that only go up, by labels."""
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[Labels, float]) -> Metric:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def build(**labels: str) -> Metric:
    """Return the version that runs, and of whom."""
    return InfoMetricFamily("fedprint", "Version of fedprint.", {"version": federation.__version__, **labels})


def problems(found: Mapping[str, str], parts: Iterable[str]) -> Metric:
    """Return for every part that is observed whether it can be read.

    Args:
        found: Part → code of what is wrong.
        parts: All of them.
    """
    return gauges(
        "fedprint_part_unreadable",
        "1 where a part of what is observed cannot be read; its other metrics are then absent.",
        ("part", "code"),
        {(part, found.get(part, "")): float(part in found) for part in parts},
    )


def of_disk(disk: Disk) -> Iterator[Metric]:
    """Return the metrics of the file system."""
    yield gauge("fedprint_disk_free_bytes", "Bytes free where the folder lies.", disk.free)
    yield gauge("fedprint_disk_size_bytes", "Size of the file system.", disk.total)


def of_processes(processes: Iterable[Process]) -> Iterator[Metric]:
    """Return the metrics of the processes that the supervisor keeps."""
    known = {(process.name,): process for process in processes}
    runs = {labels: float(process.runs) for labels, process in known.items()}
    restarts = {labels: float(process.restarts) for labels, process in known.items()}
    yield gauges("fedprint_process_up", "Whether a process runs.", ("process",), runs)
    yield counters("fedprint_process_restarts", "How often it was started again.", ("process",), restarts)


def of_ends(ends: Mapping[tuple[str, str], float]) -> Metric:
    """Return when certificates and memberships end.

    Args:
        ends: Kind and name → Unix time in seconds.
    """
    return gauges(
        "fedprint_expires_timestamp_seconds", "When a certificate or membership ends.", ("kind", "name"), ends
    )
