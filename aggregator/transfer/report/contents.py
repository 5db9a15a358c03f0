"""Everything that a report says, computed once and free of how it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aggregator.recommender import LearnedRecommender
from aggregator.recommender.calibration import Calibration, calibrate
from aggregator.study import Setting, Study
from aggregator.transfer.experiment import Finding
from aggregator.transfer.report import gains, measured, ran
from aggregator.transfer.report.hypotheses import Rankings, Test, hypothesis_tests
from aggregator.transfer.report.scatter import Scatter, scatter
from aggregator.transfer.report.table import Table
from aggregator.validation.evaluate import Result, evaluate
from aggregator.validation.selectors import RECOMMENDER, Selector, selectors
from federation.task_card import TaskCard


@dataclass(frozen=True, eq=False)
class Consortium:
    """What is known about the tasks beside the experiments.

    Args:
        study: Tasks, distances, groups and facts; its outcomes are not looked at.
        cards: Address → card.
        rankings: Address → architecture → what it reached there on validation images, higher is better.
        step_seconds: Step id → seconds it took.
    """

    study: Study
    cards: Mapping[str, TaskCard] = field(default_factory=dict)
    rankings: Rankings = field(default_factory=dict)
    step_seconds: ran.StepSeconds = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Contents:
    """The contents of a report.

    Args:
        title: Name of the plan.
        findings: Every finding, failed ones too.
        ran: What ran.
        experiments: The same by scenario, arm and state.
        metric: What drawings and hypotheses are about.
        pairs: Gain of every measured pair.
        summaries: What transfer brought, per scenario and metric.
        starts: Published weights against random ones.
        matrices: Gains of every pair by the metric, one per scenario.
        study: The catalogue's tasks with what was measured.
        results: Every selector in every setting that has a choice to make.
        calibrations: How well the recommender's forecasts held.
        scatters: Distance against gain.
        tests: The hypotheses.
        notes: What is not in it and why, one sentence each.
    """

    title: str
    findings: tuple[Finding, ...]
    ran: ran.Ran
    experiments: Table
    metric: str
    pairs: tuple[measured.PairGain, ...]
    summaries: tuple[gains.Summary, ...]
    starts: tuple[gains.Starts, ...]
    matrices: tuple[gains.GainMatrix, ...]
    study: Study
    results: tuple[Result, ...]
    calibrations: Mapping[Setting, Calibration]
    scatters: tuple[Scatter, ...]
    tests: tuple[Test, ...]
    notes: tuple[str, ...]


def contents(
    findings: Sequence[Finding], consortium: Consortium, plan: Mapping[str, Any] | None = None
) -> Contents:
    """Compute everything that a report says.

    Args:
        findings: Every finding, failed ones too.
        consortium: What is known about the tasks.
        plan: The plan as nested tables; its name is the title.
    """
    plan = plan or {}
    kept, left_out = measured.comparable(findings)
    study, strangers = measured.with_outcomes(consortium.study, kept)
    pairs = measured.pair_gains(kept)
    metric = measured.primary_metric(pair.metric for pair in pairs)
    results, calibrations = _judge(study)
    unjudged = _say_unjudged(study)
    drawn = [scatter(study, each, consortium.cards) for each in study.outcomes if each.metric == metric]
    return Contents(
        title=str(plan.get("name") or "Transfer experiments"),
        findings=tuple(findings),
        ran=ran.what_ran(
            findings, {key: value for key, value in plan.items() if key != "name"}, consortium.step_seconds
        ),
        experiments=ran.ran_table(findings, consortium.step_seconds),
        metric=metric,
        pairs=tuple(pairs),
        summaries=tuple(gains.summaries(kept)),
        starts=tuple(gains.starts(kept)),
        matrices=tuple(gains.matrices(pairs, metric)),
        study=study,
        results=tuple(results),
        calibrations=calibrations,
        scatters=tuple(each for each in drawn if each is not None and each.panels),
        tests=tuple(hypothesis_tests(study, consortium.cards, consortium.rankings)),
        notes=(
            *(*left_out, *_say_uncompared(kept), *strangers, *unjudged, *_say_seeds(findings)),
            *study.notes,
        ),
    )


def _judge(study: Study) -> tuple[list[Result], dict[Setting, Calibration]]:
    """Judge every distance and rule of thumb, and the recommender on targets whose outcomes it never saw."""
    judged = {s: each for s, each in study.outcomes.items() if study.target_indices(s)}
    limited = Study(study.tasks, study.targets, study.groups, study.distances, judged, study.facts)
    learned = {setting: LearnedRecommender.fit(limited, setting) for setting in judged}
    chosen = [
        *selectors(limited),
        Selector(RECOMMENDER, lambda _, setting: learned[setting].standings),
    ]
    return evaluate(limited, chosen), {setting: calibrate(each) for setting, each in learned.items()}


def _say_unjudged(study: Study) -> list[str]:
    unjudged = [
        f"{s.scenario_in_words}, {s.metric.upper()}" for s in study.outcomes if not study.target_indices(s)
    ]
    if not unjudged:
        return []
    return [
        "No target has two measured sources to choose between, so that no ranking can be judged: "
        f"{'; '.join(unjudged)}."
    ]


def _say_uncompared(kept: Sequence[Finding]) -> list[str]:
    n = sum(not each.baseline for each in measured.done(kept))
    if not n:
        return []
    return [
        f"{n} of {len(measured.done(kept))} measured experiments have no gain and are in no mean: the same "
        "training without a source, from the same start, was not measured."
    ]


def _say_seeds(findings: Sequence[Finding]) -> list[str]:
    n = len({each.experiment.seed for each in measured.done(findings)})
    if 0 < n < 3:
        return [f"Every figure rests on {n} {'seed' if n == 1 else 'seeds'}; three are the least for claims."]
    return []
