"""How far a plan is: every experiment, every site, and how long the rest may take."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from aggregator.store import Catalogue
from aggregator.transfer.answer import HUB
from aggregator.transfer.experiment import Finding
from aggregator.transfer.queue import (
    DONE,
    FAILED,
    RUNNING,
    STATES,
    WAITING,
    KnownPlan,
    Queue,
    QueuedStep,
    find_plan,
)
from federation.transfer.result import AUROC, relative_gain


@dataclass(frozen=True)
class SiteStatus:
    """How far a site is.

    Args:
        site: Its name.
        counts: State → number of its steps that are known so far.
        running: The step that it works on now, None: none.
        seconds_left: What its open steps may take, from what others like them took; None: nobody knows.
    """

    site: str
    counts: Mapping[str, int]
    running: QueuedStep | None
    seconds_left: float | None


@dataclass(frozen=True)
class Status:
    """How far a plan is.

    Args:
        known: The plan.
        findings: Its experiments, in order.
        steps: Step id → step, of all that are known so far.
        sites: How far every site is.
    """

    known: KnownPlan
    findings: tuple[Finding, ...]
    steps: Mapping[str, QueuedStep]
    sites: tuple[SiteStatus, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """State → number of experiments."""
        found = Counter(str(finding.state) for finding in self.findings)
        return {state: found[state] for state in STATES}

    @property
    def seconds_left(self) -> float | None:
        """What is left at least, in seconds; None where nobody knows.

        That is what the slowest site has before it, or all of them at the pace so far: on one machine sites
        take turns. Steps that depend on others' results are not counted before these are there.
        """
        known = [site.seconds_left for site in self.sites if site.seconds_left is not None]
        if not known:
            return None
        return max(*known, sum(known) / _sites_at_once(list(self.steps.values())))


def read_status(catalogue: Catalogue, name: str = "") -> Status:
    """Return how far a plan is.

    Args:
        catalogue: The catalogue.
        name: Name of the plan; by default the one that was begun last.

    Raises:
        UnknownNameError: If there is no such plan.
    """
    known = find_plan(catalogue, name)
    queue = Queue(catalogue, known.plan_id)
    findings = tuple(queue.findings())
    steps = {step.step_id: step for step in queue.steps()}
    return Status(known, findings, steps, tuple(_sites(list(steps.values()))))


def status_json(status: Status) -> dict[str, Any]:
    """Return it as JSON."""
    return {
        "plan": status.known.plan.name,
        "began_at": status.known.began_at,
        "finished_at": status.known.finished_at,
        "experiments": dict(status.counts),
        "seconds_left": status.seconds_left,
        "sites": [_site_json(site) for site in status.sites],
        "findings": [_finding_json(finding, status.steps) for finding in status.findings],
    }


def scenarios_table(status: Status) -> Table:
    """Return a line for every scenario."""
    table = Table("scenario", *STATES, "mean gain in auroc", box=box.SIMPLE_HEAD)
    for scenario in dict.fromkeys(finding.experiment.scenario for finding in status.findings):
        own = [finding for finding in status.findings if finding.experiment.scenario == scenario]
        counts = Counter(str(finding.state) for finding in own)
        gains = [gain for finding in own if (gain := _gain(finding)) is not None]
        mean = f"{fmean(gains):+.1%}" if gains else ""
        table.add_row(*map(escape, (scenario, *(str(counts[state]) for state in STATES), mean)))
    return table


def experiments_table(status: Status) -> Table:
    """Return a line for every experiment."""
    columns = ("scenario", "source", "target", "seed", "state", "auroc", "gain")
    table = Table(*columns, box=box.SIMPLE_HEAD)
    for finding in status.findings:
        asked = finding.experiment
        score, gain = finding.scores.get(AUROC), _gain(finding)
        value = "" if score is None else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
        gained = "" if gain is None else f"{gain:+.1%}"
        cells = (asked.scenario, asked.source or asked.arm, asked.target, str(asked.seed))
        table.add_row(*map(escape, (*cells, where(finding, status.steps), value, gained)))
    return table


def sites_table(status: Status) -> Table:
    """Return a line for every site."""
    table = Table("site", *STATES, "working on", "left", box=box.SIMPLE_HEAD)
    for site in status.sites:
        working = "" if site.running is None else _working(site.running)
        counts = (str(site.counts[state]) for state in STATES)
        cells = (site.site or "the aggregator", *counts, working, duration(site.seconds_left))
        table.add_row(*map(escape, cells))
    return table


def _gain(finding: Finding) -> float | None:
    score, baseline = finding.scores.get(AUROC), finding.baseline.get(AUROC)
    return relative_gain(score.value, baseline) if score is not None and baseline else None


def where(finding: Finding, steps: Mapping[str, QueuedStep]) -> str:
    """Return how far an experiment is, in words: ``"bern: epoch 3 of 10"``, or why it failed."""
    if finding.state == FAILED:
        return f"failed: {finding.reason}"
    running = [steps[each] for each in finding.steps if each in steps and steps[each].state == RUNNING]
    if finding.state == DONE or not running:
        return finding.state
    return "; ".join(f"{step.site}: {_epochs(step)}" for step in running)


def duration(seconds: float | None) -> str:
    """Return a time in words, such as ``"2 h 5 min"``."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{rest} s"


def _sites_at_once(steps: Sequence[QueuedStep]) -> float:
    """Return how many sites worked at the same time, on average over the time in which any did."""
    done = [step for step in steps if step.result is not None and step.began_at is not None]
    spans = sorted((step.began_at or 0.0, step.changed_at) for step in done)
    covered, until = 0.0, 0.0
    for begin, end in spans:
        covered += max(0.0, end - max(begin, until))
        until = max(until, end)
    worked = sum(step.result.seconds for step in done if step.result is not None)
    return max(1.0, worked / covered) if covered else math.inf


def _sites(steps: Sequence[QueuedStep]) -> list[SiteStatus]:
    by_site: dict[str, list[QueuedStep]] = defaultdict(list)
    for step in steps:
        by_site[step.site].append(step)
    costs = _seconds_per_epoch(steps)
    return [_site(site, by_site[site], costs) for site in sorted(by_site) if site != HUB]


def _site(site: str, steps: Sequence[QueuedStep], costs: Mapping[tuple[str, str], float]) -> SiteStatus:
    counts = Counter(step.state for step in steps)
    running = next((step for step in steps if step.state == RUNNING), None)
    left = [_seconds_left(step, costs) for step in steps if step.state in (WAITING, RUNNING)]
    known = [seconds for seconds in left if seconds is not None]
    total = sum(known) * len(left) / len(known) if known else None if left else 0.0
    return SiteStatus(site, {state: counts[state] for state in STATES}, running, total)


def _seconds_per_epoch(steps: Sequence[QueuedStep]) -> dict[tuple[str, str], float]:
    """Return (kind, site) → mean time of an epoch; under no site: of the kind anywhere."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for step in steps:
        if step.result is not None and step.result.seconds > 0:
            seconds = step.result.seconds / _planned_epochs(step)
            found[step.kind, step.site].append(seconds)
            found[step.kind, ""].append(seconds)
    return {key: fmean(values) for key, values in found.items()}


def _seconds_left(step: QueuedStep, costs: Mapping[tuple[str, str], float]) -> float | None:
    cost = costs.get((step.kind, step.site), costs.get((step.kind, "")))
    share = 0.0 if step.progress is None else step.progress.share
    return None if cost is None else cost * _planned_epochs(step) * (1 - share)


def _planned_epochs(step: QueuedStep) -> int:
    return max(1, int(step.content.get("recipe", {}).get("epochs", 1)))


def _epochs(step: QueuedStep) -> str:
    done = step.progress
    return "begun" if done is None else f"epoch {done.epoch} of {done.epochs}"


def _working(step: QueuedStep) -> str:
    return f"{step.kind} on {step.content['task']}, {_epochs(step)}"


def _site_json(site: SiteStatus) -> dict[str, Any]:
    working = None
    if site.running is not None:
        progress = site.running.progress
        working = {
            "step": site.running.step_id,
            "kind": site.running.kind,
            "task": site.running.content["task"],
            "epoch": None if progress is None else progress.epoch,
            "epochs": None if progress is None else progress.epochs,
            "loss": None if progress is None else progress.loss,
        }
    return {
        "site": site.site,
        **site.counts,
        "working_on": working,
        "seconds_left": site.seconds_left,
    }


def _finding_json(finding: Finding, steps: Mapping[str, QueuedStep]) -> dict[str, Any]:
    asked = finding.experiment
    return {
        "scenario": asked.scenario,
        "arm": asked.arm,
        "source": asked.source,
        "target": asked.target,
        "seed": asked.seed,
        "n_train": asked.n_train,
        "state": finding.state,
        "where": where(finding, steps),
        "reason": finding.reason,
        "scores": {metric: score.model_dump(mode="json") for metric, score in finding.scores.items()},
        "baseline": dict(finding.baseline),
        "seconds": finding.seconds,
        "steps": list(finding.steps),
    }
