"""Findings as measurements: which of them can be compared, and what every pair gained."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from aggregator.outcomes import Outcome
from aggregator.recommender.consortium import by_setting
from aggregator.study import SCENARIOS, Study
from aggregator.transfer.experiment import Experiment, Finding
from federation.transfer.result import CROSS_ENTROPY, METRICS

TRANSFER, WITHOUT = "transfer", ("imagenet", "scratch")
TOGETHER = " + "
"""Between the addresses of several sources that train together."""

_RANKED = tuple(metric for metric in METRICS if metric != CROSS_ENTROPY)


@dataclass(frozen=True)
class PairGain:
    """What one source did for one target, means over the seeds that have a baseline.

    Args:
        scenario: What was passed on.
        metric: How success was measured.
        source: Address of the source.
        target: Address of the target.
        n_seeds: Number of repetitions.
        value: The metric with transfer.
        baseline: The metric without.
        gain: By how much transfer was better; of a cross-entropy, by how much it fell.
        relative: The same as a share of the baseline.
    """

    scenario: str
    metric: str
    source: str
    target: str
    n_seeds: int
    value: float
    baseline: float
    gain: float
    relative: float


def comparable(findings: Sequence[Finding]) -> tuple[list[Finding], list[str]]:
    """Return the findings that share the most frequent size of targets, and what was left out, in words.

    A gain over 50 training images and one over 500 are two different measurements.
    """
    sizes = Counter(f.experiment.n_train for f in findings if f.experiment.arm == TRANSFER)
    if len(sizes) < 2:
        return list(findings), []
    most = max(sizes, key=lambda size: (sizes[size], size))
    kept = [f for f in findings if f.experiment.n_train == most]
    said = "all training images" if most == 0 else f"{most} training images"
    return kept, [
        f"{len(findings) - len(kept)} experiments with another number of training images of the target are "
        f"not compared: this report is about {said}."
    ]


def done(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with a source that were measured."""
    return [f for f in findings if f.state == "done" and f.experiment.arm == TRANSFER]


def pair_gains(
    findings: Iterable[Finding], reference: Mapping[tuple[str, int, str], float] | None = None
) -> list[PairGain]:
    """Return the gain of every measured pair, in the order of scenario, metric, target and source.

    Args:
        findings: The findings.
        reference: (target, seed, metric) → what is compared with, by default every finding's own baseline.
    """
    cells: dict[tuple[str, str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for each in done(findings):
        asked = each.experiment
        for metric, score in each.scores.items():
            baseline = each.baseline.get(metric)
            if reference is not None:
                baseline = reference.get((asked.target, asked.seed, metric))
            if baseline is not None:
                key = (asked.scenario, metric, asked.target, asked.source)
                cells[key].append((score.value, baseline))
    return [_pair_gain(*key, cells[key]) for key in sorted(cells, key=_in_order)]


def better(metric: str, value: float, baseline: float) -> float:
    """Return by how much a value is better than the baseline: more of a score, less of a cross-entropy."""
    return baseline - value if metric == CROSS_ENTROPY else value - baseline


def references(findings: Iterable[Finding], arm: str) -> dict[tuple[str, int, str], float]:
    """Return (target, seed, metric) → what training without a source reached from one kind of weights."""
    found: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for each in findings:
        if each.state == "done" and each.experiment.arm == arm:
            for metric, score in each.scores.items():
                found[each.experiment.target, each.experiment.seed, metric].append(score.value)
    return {key: fmean(values) for key, values in found.items()}


def with_outcomes(study: Study, findings: Sequence[Finding]) -> tuple[Study, list[str]]:
    """Return the study with what was measured by metrics of which more is better, and what was left out.

    Args:
        study: Tasks, distances, groups and facts of a catalogue.
        findings: Comparable findings.
    """
    outcomes = _outcomes(findings)
    together = {f.experiment.source for f in done(findings) if TOGETHER in f.experiment.source}
    strangers = {task for each in outcomes for task in (each.source, each.target)} - set(study.tasks)
    found = by_setting(outcomes, {task: i for i, task in enumerate(study.tasks)})
    notes = []
    if together:
        notes.append(
            "Common trainings of three tasks or more have no single source; no ranking is judged by them."
        )
    if strangers:
        notes.append(
            f"Not in the catalogue, so that no distance speaks of them: {', '.join(sorted(strangers))}."
        )
    return replace(study, outcomes=found), notes


def primary_metric(metrics: Iterable[str]) -> str:
    """Return the metric that drawings and hypotheses are about: the AUROC where it was measured."""
    present = set(metrics)
    return next((metric for metric in METRICS if metric in present), min(present, default=METRICS[0]))


def _outcomes(findings: Sequence[Finding]) -> list[Outcome]:
    """One per pair, seed and metric; a target's baseline is the first that was stated for its repetition."""
    baselines: dict[tuple[str, str, int, str], float] = {}
    found = {}
    for each in done(findings):
        asked = each.experiment
        for metric in _RANKED:
            if metric in each.scores and asked.scenario in SCENARIOS and _is_pair(asked):
                repetition = (asked.scenario, metric, asked.seed, asked.target)
                if metric in each.baseline:
                    baselines.setdefault(repetition, each.baseline[metric])
                measured = Outcome(
                    asked.scenario, metric, asked.seed, asked.source, asked.target, each.scores[metric].value
                )
                found[measured.key] = measured
    return [replace(each, baseline=baselines.get(each.repetition)) for each in found.values()]


def _is_pair(asked: Experiment) -> bool:
    """Whether there is one source; where several train together, nobody can say whose merit it is."""
    return asked.source != asked.target and TOGETHER not in asked.source


def _pair_gain(
    scenario: str, metric: str, target: str, source: str, seeds: list[tuple[float, float]]
) -> PairGain:
    gains = [better(metric, value, baseline) for value, baseline in seeds]
    relative = [gain / base if base else float("nan") for gain, (_, base) in zip(gains, seeds, strict=True)]
    return PairGain(
        scenario,
        metric,
        source,
        target,
        len(seeds),
        fmean(value for value, _ in seeds),
        fmean(baseline for _, baseline in seeds),
        fmean(gains),
        fmean(relative),
    )


def _in_order(key: tuple[str, str, str, str]) -> tuple[int, int, tuple[str, str, str, str]]:
    scenario, metric, _, _ = key
    return (_place(SCENARIOS, scenario), _place(METRICS, metric), key)


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)
