"""A site in Prometheus' terms: tasks, modes, codes and budgets; no patient and no number of images.

What is counted per task are messages that left. Events about single images, such as unreadable ones, are
not counted at all: of a private task their number is nobody's business.
"""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from federation.operations import families
from federation.operations.collector import PartsCollector
from site_agent.flower.link_status import Link
from site_agent.operations.activity import Activity
from site_agent.operations.budget_reading import BudgetLeft
from site_agent.operations.site_reading import SiteParts

_OF_BUDGET = ("scope", "name", "delta")


class SiteCollector(PartsCollector):
    """Reads a site whenever somebody asks for its metrics.

    Args:
        parts: What is read.
    """

    def __init__(self, parts: SiteParts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of everything that can be read."""
        reading = self._parts.read()
        yield families.build(side="site", member=reading.site)
        yield families.problems(reading.readings.codes, self._parts.names)
        if reading.activity is not None:
            yield from _of_activity(reading.activity)
        if reading.budgets is not None:
            yield from _of_budgets(reading.budgets)
        yield from _of_link(reading.link)
        if reading.n_waiting is not None:
            text = "App bundles that wait for approval."
            yield families.gauge("fedprint_site_waiting_bundles", text, reading.n_waiting)
        if reading.log is not None:
            text = "Whether a hub is not answered because its log contradicts what it showed before."
            yield families.gauge("fedprint_site_log_contradicted", text, bool(reading.log.contradiction))
        yield families.of_ends(reading.ends or {})
        if reading.processes is not None:
            yield from families.of_processes(reading.processes)
        if reading.disk is not None:
            yield from families.of_disk(reading.disk)


def _of_activity(known: Activity) -> Iterator[Metric]:
    again = {(task,): n for task, n in known.sent_again.items()}
    models = {(task,): n for task, n in known.models.items()}
    yield families.counters(
        "fedprint_site_releases",
        "Fingerprints, parts in sums and models with noise that left for the first time.",
        ("task", "mode"),
        known.releases,
    )
    yield families.counters(
        "fedprint_site_releases_again", "Releases that left once more, at no cost.", ("task",), again
    )
    yield families.counters("fedprint_site_models", "Models that left.", ("task",), models)
    yield families.counters(
        "fedprint_site_failures", "What was asked and not done.", ("task", "code"), known.failures
    )
    yield families.counter("fedprint_site_replies", "Replies that left.", known.replies)
    yield families.counter("fedprint_site_reply_bytes", "Their size.", known.n_bytes)
    if known.last_sent is not None:
        text = "When the last reply left."
        yield families.gauge("fedprint_site_last_reply_timestamp_seconds", text, known.last_sent)


def _of_budgets(budgets: tuple[BudgetLeft, ...]) -> Iterator[Metric]:
    by_labels = {(budget.scope, budget.name, f"{budget.delta:g}"): budget for budget in budgets}
    for column, text in (
        ("limit_rho", "Most zCDP rho that may be spent within the period."),
        ("spent_rho", "The zCDP rho that is spent."),
        ("limit_eps", "Most epsilon that may be spent within the period."),
        ("spent_eps", "The epsilon that is spent."),
        ("left_eps", "The epsilon that is left."),
    ):
        values = {labels: getattr(budget, column) for labels, budget in by_labels.items()}
        yield families.gauges(f"fedprint_site_budget_{column}", text, _OF_BUDGET, values)


def _of_link(link: Link) -> Iterator[Metric]:
    text = "Whether the site is connected to its hub."
    yield families.gauge("fedprint_site_connected", text, float(link.connected))
    if link.connected or link.since:
        at = link.updated if link.connected else link.since
        text = "When the connection to the hub was last known to stand."
        yield families.gauge("fedprint_site_last_contact_timestamp_seconds", text, at)
