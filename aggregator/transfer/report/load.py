"""What a report needs from the queue: findings of a plan, figures of architectures, time per step."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from aggregator.store import Catalogue
from aggregator.transfer.experiment import Finding
from aggregator.transfer.queue import KnownPlan, Queue, QueuedStep, find_plan
from federation.names import task_key
from federation.transfer.result import AUROC


@dataclass(frozen=True)
class Executed:
    """A plan and what became of it.

    Args:
        known: The plan, what sites offered and which pairs were chosen.
        findings: How far every experiment is.
        rankings: Address → architecture → AUROC on the task's own validation images, mean over seeds.
        step_seconds: Step id → seconds that it took.
    """

    known: KnownPlan
    findings: tuple[Finding, ...]
    rankings: Mapping[str, Mapping[str, float]]
    step_seconds: Mapping[str, float]


def executed(catalogue: Catalogue, name: str = "") -> Executed:
    """Return the plan of a name that was begun last, by default of any, and what became of it.

    Raises:
        UnknownNameError: If there is none.
    """
    known = find_plan(catalogue, name)
    queue = Queue(catalogue, known.plan_id)
    steps = queue.steps()
    return Executed(
        known,
        tuple(queue.findings()),
        rankings_of(steps),
        {step.step_id: step.result.seconds for step in steps if step.result is not None},
    )


def rankings_of(steps: Iterable[QueuedStep]) -> dict[str, dict[str, float]]:
    """Return address → architecture → AUROC on validation images, mean over seeds."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for step in steps:
        said = step.content
        ranked = step.kind == "train" and said.get("measure") == "validation"
        if ranked and step.result is not None and AUROC in step.result.scores:
            network = said["network"]
            key = task_key(said["site"], said["task"]), f"{network['library']}:{network['name']}"
            found[key].append(step.result.scores[AUROC].value)
    rankings: dict[str, dict[str, float]] = defaultdict(dict)
    for (address, network), values in found.items():
        rankings[address][network] = fmean(values)
    return dict(rankings)
