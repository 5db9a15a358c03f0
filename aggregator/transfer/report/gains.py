"""What transfer brought: per scenario, against training without a source, and where weights should begin."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.study import Floats
from aggregator.transfer.experiment import Finding
from aggregator.transfer.report.measured import WITHOUT, PairGain, better, pair_gains, references
from aggregator.validation.bootstrap import target_intervals
from federation.transfer.result import CROSS_ENTROPY

NO_TRANSFER = "no transfer"
Interval = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """One scenario by one metric; means over targets, of what their sources gained on average.

    Args:
        scenario: What was passed on.
        metric: How success was measured.
        against: What it is compared with.
        n_pairs: Measured pairs.
        n_targets: Targets among them.
        gain: Mean gain, with its 95 % interval over resampled targets.
        relative: Mean relative gain, likewise.
        gained: Share of pairs that gained, likewise.
        harmed: Share of pairs that lost, likewise: the rate of negative transfer.
    """

    scenario: str
    metric: str
    against: str
    n_pairs: int
    n_targets: int
    gain: tuple[float, Interval]
    relative: tuple[float, Interval]
    gained: tuple[float, Interval]
    harmed: tuple[float, Interval]

    @property
    def relative_loss(self) -> float:
        """Cross-entropy after transfer over that without, as the papers give it; NaN for other metrics."""
        return 1 - self.relative[0] if self.metric == CROSS_ENTROPY else float("nan")


@dataclass(frozen=True)
class Starts:
    """Published weights against random ones, without any source, by one metric.

    Args:
        metric: How success was measured.
        n_targets: Targets trained from both.
        imagenet: Mean from published weights.
        scratch: Mean from random ones.
        gain: By how much published ones were better, with its 95 % interval over resampled targets.
        better: Share of targets where they were.
    """

    metric: str
    n_targets: int
    imagenet: float
    scratch: float
    gain: tuple[float, Interval]
    better: float


@dataclass(frozen=True, eq=False)
class GainMatrix:
    """Gains of every pair of one scenario by one metric.

    Args:
        scenario: What was passed on.
        metric: How success was measured.
        sources: Addresses of the rows.
        targets: Addresses of the columns.
        gain: float64 [n_sources, n_targets], NaN where not measured.
        relative: The same as a share of the baseline.
    """

    scenario: str
    metric: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    gain: Floats
    relative: Floats


def summaries(findings: Sequence[Finding]) -> list[Summary]:
    """Return a summary per scenario and metric against the own baseline, and against other arms that differ.

    Args:
        findings: Comparable findings.
    """
    own = pair_gains(findings)
    found = _summarise(own, NO_TRANSFER)
    stated = {(p.scenario, p.metric, p.source, p.target): p.baseline for p in own}
    for arm in WITHOUT:
        pairs = pair_gains(findings, references(findings, arm))
        other = [p for p in pairs if stated.get((p.scenario, p.metric, p.source, p.target)) != p.baseline]
        found += _summarise(other, arm)
    return found


def starts(findings: Sequence[Finding]) -> list[Starts]:
    """Return how published weights compare with random ones, per metric that has both."""
    imagenet, scratch = (references(findings, arm) for arm in WITHOUT)
    by_metric: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for key in sorted(imagenet.keys() & scratch.keys()):
        target, _, metric = key
        by_metric[metric][target].append((imagenet[key], scratch[key]))
    return [_starts(metric, targets) for metric, targets in by_metric.items()]


def matrices(pairs: Sequence[PairGain], metric: str) -> list[GainMatrix]:
    """Return the matrix of every scenario that was measured by a metric."""
    scenarios = dict.fromkeys(pair.scenario for pair in pairs if pair.metric == metric)
    return [
        gain_matrix([p for p in pairs if (p.scenario, p.metric) == (scenario, metric)])
        for scenario in scenarios
    ]


def gain_matrix(pairs: Sequence[PairGain]) -> GainMatrix:
    """Return the pairs of one scenario and metric as a matrix; at least one."""
    sources, targets = sorted({p.source for p in pairs}), sorted({p.target for p in pairs})
    gain, relative = np.full((2, len(sources), len(targets)), np.nan)
    for pair in pairs:
        place = sources.index(pair.source), targets.index(pair.target)
        gain[place], relative[place] = pair.gain, pair.relative
    return GainMatrix(pairs[0].scenario, pairs[0].metric, tuple(sources), tuple(targets), gain, relative)


def _summarise(pairs: Sequence[PairGain], against: str) -> list[Summary]:
    settings: dict[tuple[str, str], list[PairGain]] = defaultdict(list)
    for pair in pairs:
        settings[pair.scenario, pair.metric].append(pair)
    return [_summary(group, against) for group in settings.values()]


def _summary(pairs: Sequence[PairGain], against: str) -> Summary:
    targets: dict[str, list[list[float]]] = defaultdict(list)
    for p in pairs:
        targets[p.target].append([p.gain, p.relative, p.gain > 0, p.gain < 0])
    scores = np.array([np.mean(rows, axis=0) for rows in targets.values()])
    gain, relative, gained, harmed = _with_intervals(scores)
    first = pairs[0]
    return Summary(
        first.scenario, first.metric, against, len(pairs), len(targets), gain, relative, gained, harmed
    )


def _starts(metric: str, targets: Mapping[str, list[tuple[float, float]]]) -> Starts:
    means = np.array([np.mean(seeds, axis=0) for seeds in targets.values()])
    gains = np.array([better(metric, imagenet, scratch) for imagenet, scratch in means.tolist()])
    imagenet, scratch = means.mean(axis=0).tolist()
    (gain,) = _with_intervals(gains[:, None])
    return Starts(metric, len(targets), imagenet, scratch, gain, float((gains > 0).mean()))


def _with_intervals(scores: Floats) -> list[tuple[float, Interval]]:
    """Mean and interval per column of float64 [n_targets, n_columns]."""
    low, high = target_intervals(scores).tolist()
    means = scores.mean(axis=0).tolist()
    return [(mean, (a, b)) for mean, a, b in zip(means, low, high, strict=True)]
