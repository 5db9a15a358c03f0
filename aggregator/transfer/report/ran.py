"""What ran: how many experiments of each kind, on what, for how long, and what failed and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from aggregator.study import SCENARIOS
from aggregator.transfer.experiment import Finding, State
from aggregator.transfer.report.measured import TOGETHER, TRANSFER
from aggregator.transfer.report.table import Cell, Table

StepSeconds = Mapping[str, float]
_STATES: tuple[State, ...] = ("done", "failed", "running", "waiting")


@dataclass(frozen=True)
class Ran:
    """What ran.

    Args:
        n_experiments: How many experiments there are.
        states: State → how many.
        tasks: Addresses of the tasks that take part.
        sites: Names of their sites.
        seeds: Repetitions.
        n_train: Training images of the targets; 0 stands for all.
        seconds: Time that all of them took at all sites together, a step that several share once.
        budget: What the plan says, name and value.
    """

    n_experiments: int
    states: Mapping[str, int]
    tasks: tuple[str, ...]
    sites: tuple[str, ...]
    seeds: tuple[int, ...]
    n_train: tuple[int, ...]
    seconds: float
    budget: tuple[tuple[str, str], ...]


def what_ran(findings: Sequence[Finding], plan: Mapping[str, Any], step_seconds: StepSeconds) -> Ran:
    """Return what ran.

    Args:
        findings: Every finding, failed ones too.
        plan: The plan as nested tables, empty where it is not known.
        step_seconds: Step id → seconds it took, empty where they are not known.
    """
    asked = [finding.experiment for finding in findings]
    tasks = sorted({task for each in asked for task in (*each.source.split(TOGETHER), each.target) if task})
    states = Counter(finding.state for finding in findings)
    return Ran(
        n_experiments=len(findings),
        states={state: states[state] for state in _STATES if states[state]},
        tasks=tuple(tasks),
        sites=tuple(sorted({task.partition("/")[0] for task in tasks})),
        seeds=tuple(sorted({each.seed for each in asked})),
        n_train=tuple(sorted({each.n_train for each in asked})),
        seconds=seconds_of(findings, step_seconds),
        budget=tuple(_flat(plan)),
    )


def seconds_of(findings: Sequence[Finding], step_seconds: StepSeconds) -> float:
    """Return the time of experiments, a step that several share once; without times of steps their sum."""
    if not step_seconds:
        return sum(finding.seconds for finding in findings)
    steps = dict.fromkeys(step for finding in findings for step in finding.steps)
    return sum(step_seconds.get(step, 0.0) for step in steps)


def ran_table(findings: Sequence[Finding], step_seconds: StepSeconds) -> Table:
    """Return the number of experiments per scenario, arm and state, and their time as of ``seconds_of``."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for each in findings:
        without = each.experiment.arm != TRANSFER
        key = ("" if without else each.experiment.scenario, each.experiment.arm)
        groups.setdefault(key, []).append(each)
    rows: list[tuple[Cell, ...]] = []
    for scenario, arm in sorted(groups, key=lambda key: (_place(key[0]), key[1])):
        group = groups[scenario, arm]
        counts = Counter(each.state for each in group)
        said = scenario.replace("_", "-") or "no transfer"
        rows.append((said, arm, *(counts[state] for state in _STATES), seconds_of(group, step_seconds)))
    return Table("experiments", "What ran", ("scenario", "arm", *_STATES, "seconds"), tuple(rows))


def failures(findings: Sequence[Finding]) -> Table:
    """Return every experiment that failed, with its reason."""
    failed = sorted((f for f in findings if f.state == "failed"), key=lambda f: (f.reason, f.experiment))
    columns = tuple(field.name for field in fields(findings[0].experiment)) if findings else ("scenario",)
    rows = tuple(
        (*(getattr(f.experiment, name) for name in columns), f.reason or "not stated", f.seconds)
        for f in failed
    )
    return Table("failures", "What failed", (*columns, "reason", "seconds"), rows)


def reasons(findings: Sequence[Finding]) -> list[tuple[str, int]]:
    """Return every reason and how many experiments it ended, most frequent first."""
    counted = Counter(f.reason or "not stated" for f in findings if f.state == "failed")
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def say_duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _flat(plan: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Nested tables as dotted names; what is not set is left out."""
    found: list[tuple[str, str]] = []
    for name, value in plan.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{above}{name}.")
        elif value is not None:
            listed = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            found.append((above + name, listed))
    return found


def _place(scenario: str) -> int:
    return SCENARIOS.index(scenario) if scenario in SCENARIOS else -1
