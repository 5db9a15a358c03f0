"""The hypotheses of Godau and Maier-Hein (arXiv 2107.03949), tested on a consortium's own tasks.

H1, semantic grouping: tasks of one modality or body part are near each other, and help each other more. H2,
pretraining: near sources give more gain when their weights are passed on. H3, architecture: near tasks agree
on which architectures are good. Every statistic is positive where the hypothesis holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from aggregator.study import Floats, Mask, Setting, Study
from aggregator.transfer.report import statistics
from aggregator.transfer.report.measured import primary_metric
from aggregator.validation.bootstrap import target_intervals
from aggregator.validation.metrics import spearman
from federation.task_card import TaskCard

H1, H2, H3 = "H1", "H2", "H3"
CLAIMS = {
    H1: "Semantic grouping: tasks of one modality or body part lie near each other and help each other more.",
    H2: "Pretraining: the nearer the source, the more its weights help.",
    H3: "Architecture: near tasks agree on which architectures are good.",
}
GAIN, NEARNESS, WITHIN, POOLED, AGREEMENT = (
    "gain inside less gain outside the group",
    "share of sources that are farther, inside less outside the group",
    "rank correlation of nearness and gain within a target",
    "rank correlation of nearness and relative gain over all pairs",
    "rank correlation of nearness and agreement on architectures",
)
_GROUPINGS = ("modality", "body part")
_FEWEST_NETWORKS = 3
Rankings = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Test:
    """One test of one hypothesis.

    Args:
        hypothesis: H1, H2 or H3.
        about: Which grouping, scenario or distance.
        statistic: What ``value`` is; positive where the hypothesis holds.
        value: The statistic, NaN where there is nothing to compare.
        interval: 95 % over resampled targets; of H3 over resampled tasks.
        p: Two-sided, by permuting whole tasks; NaN where nothing can be permuted.
        p_adjusted: The same for all tests of this statistic together (Holm).
        n_targets: Number of targets (H3: of tasks) behind it.
        n_pairs: Number of pairs behind it.
    """

    hypothesis: str
    about: str
    statistic: str
    value: float
    interval: tuple[float, float]
    p: float
    p_adjusted: float
    n_targets: int
    n_pairs: int


@dataclass(frozen=True, eq=False)
class _Gains:
    setting: Setting
    gain: Floats
    relative: Floats


def hypothesis_tests(study: Study, cards: Mapping[str, TaskCard], rankings: Rankings) -> list[Test]:
    """Return every test that the data allow.

    Args:
        study: Tasks, distances, groups and what was measured.
        cards: Address → card of the task.
        rankings: Address → architecture → what it reached there on validation images, higher is better.
    """
    metric = primary_metric(setting.metric for setting in study.outcomes)
    gains = [_gains(study, setting) for setting in study.outcomes if setting.metric == metric]
    families = [
        [_group_gain(study, cards, by, each) for by in _GROUPINGS for each in gains],
        [_group_nearness(study, cards, by, name) for by in _GROUPINGS for name in study.distances],
        *_pretraining(study, gains),
        _architecture(study, rankings),
    ]
    return [test for family in families for test in _adjusted(family)]


def agreement_on_architectures(study: Study, rankings: Rankings) -> Floats:
    """Return Spearman's correlation of two tasks' figures over their common architectures.

    Returns:
        float64 [n_tasks, n_tasks], symmetric; NaN on the diagonal, where fewer than three architectures are
        common, and for tasks that share images.
    """
    agreement = np.full((len(study.tasks), len(study.tasks)), np.nan)
    known = [(i, rankings[task]) for i, task in enumerate(study.tasks) if task in rankings]
    for i, first in known:
        for j, second in known:
            common = sorted(first.keys() & second.keys())
            if study.allowed[i, j] and len(common) >= _FEWEST_NETWORKS:
                a, b = (np.array([table[name] for name in common]) for table in (first, second))
                agreement[i, j] = spearman(a[None], b)[0]
    return agreement


def alike(cards: Mapping[str, TaskCard], tasks: Sequence[str], by: str) -> tuple[Mask, Mask]:
    """Return which pairs share a word of the cards, and which pairs both state one.

    Args:
        cards: Address → card.
        tasks: Addresses.
        by: ``"modality"`` or ``"body part"``.

    Returns:
        Two bool [n_tasks, n_tasks].
    """
    stated = np.array([_word(cards.get(task), by) for task in tasks], dtype=object)
    said = np.array([bool(word) for word in stated], dtype=bool)
    same: Mask = (stated[:, None] == stated[None, :]).astype(bool)
    return same, said[:, None] & said[None, :]


def _gains(study: Study, setting: Setting) -> _Gains:
    outcomes = study.outcomes[setting]
    gain = np.where(study.allowed, outcomes.gain, np.nan)
    return _Gains(setting, gain, gain / np.where(outcomes.mean_baseline, outcomes.mean_baseline, np.nan))


def _group_gain(study: Study, cards: Mapping[str, TaskCard], by: str, gains: _Gains) -> Test:
    about = f"{by}, {gains.setting.scenario_in_words}, {gains.setting.metric.upper()}"
    return _contrast(study, cards, by, gains.gain, about, GAIN)


def _group_nearness(study: Study, cards: Mapping[str, TaskCard], by: str, name: str) -> Test:
    farther = np.full(study.distances[name].shape, np.nan)
    for target, column in enumerate(np.where(study.allowed, study.distances[name], np.nan).T):
        known = np.isfinite(column)
        if known.sum() >= 2:
            farther[known, target] = 1 - (rankdata(column[known]) - 1) / (known.sum() - 1)
    return _contrast(study, cards, by, farther, f"{by}, {name}", NEARNESS)


def _contrast(
    study: Study, cards: Mapping[str, TaskCard], by: str, values: Floats, about: str, statistic: str
) -> Test:
    same, said = alike(cards, study.tasks, by)
    kept = np.flatnonzero(said.any(axis=1))
    values, same = values[np.ix_(kept, kept)], same[np.ix_(kept, kept)]
    measured = np.isfinite(values)
    permuted = statistics.orders(len(kept))
    by_target = statistics.contrast_by_target(values, same, measured, permuted)
    return _over_targets(H1, about, statistic, by_target, measured)


def _pretraining(study: Study, gains: Sequence[_Gains]) -> list[list[Test]]:
    measured = [each for each in gains if each.setting.scenario == "pretraining"]
    if not measured:
        return []
    found, permuted = measured[0], statistics.orders(len(study.tasks))
    within = [
        _over_targets(
            H2,
            name,
            WITHIN,
            statistics.correlation_by_target(-distance, found.gain, np.isfinite(found.gain), permuted),
            np.isfinite(found.gain),
        )
        for name, distance in study.distances.items()
    ]
    return [within, [_pooled(name, distance, found) for name, distance in study.distances.items()]]


def _pooled(name: str, distance: Floats, found: _Gains) -> Test:
    """As in the paper, over all pairs at once; the difficulty of targets is part of it."""
    known = np.isfinite(found.relative) & np.isfinite(distance)
    targets = np.flatnonzero(known.any(axis=0))
    columns = [(-distance[known[:, t], t], found.relative[known[:, t], t]) for t in targets]

    def over(drawn: Iterable[int]) -> float:
        chosen = [columns[i] for i in drawn]
        return statistics.pooled_correlation(*(np.concatenate(part) for part in zip(*chosen, strict=True)))

    value = over(range(len(columns))) if columns else float("nan")
    low, high = statistics.interval_over_clusters(len(columns), over)
    nan = float("nan")
    return Test(H2, name, POOLED, value, (float(low), float(high)), nan, nan, len(targets), int(known.sum()))


def _architecture(study: Study, rankings: Rankings) -> list[Test]:
    agreement = agreement_on_architectures(study, rankings)
    kept = np.flatnonzero(np.isfinite(agreement).any(axis=1))
    if len(kept) < 3:
        return []
    agreement = agreement[np.ix_(kept, kept)]
    return [
        _mantel(name, agreement, distance[np.ix_(kept, kept)]) for name, distance in study.distances.items()
    ]


def _mantel(name: str, agreement: Floats, distance: Floats) -> Test:
    nearness = -(distance + distance.T) / 2
    n_tasks = len(agreement)
    found = statistics.mantel(agreement, nearness, statistics.orders(n_tasks))

    def over(drawn: statistics.Orders) -> float:
        a, b = (drawn[place] for place in np.triu_indices(n_tasks, 1))
        return statistics.pooled_correlation(nearness[a, b], agreement[a, b])

    low, high = statistics.interval_over_clusters(n_tasks, over)
    n_pairs = int(np.isfinite(agreement).sum()) // 2
    p = statistics.p_value(found)
    return Test(H3, name, AGREEMENT, float(found[0]), (float(low), float(high)), p, p, n_tasks, n_pairs)


def _over_targets(hypothesis: str, about: str, statistic: str, by_target: Floats, measured: Mask) -> Test:
    """Mean over targets of float64 [n_orders, n_tasks], the observed order first."""
    means = statistics.mean_over_targets(by_target)
    used = np.isfinite(by_target[0])
    low, high = target_intervals(by_target[0][used][:, None])[:, 0].tolist()
    n_pairs, p = int(measured[:, used].sum()), statistics.p_value(means)
    return Test(hypothesis, about, statistic, float(means[0]), (low, high), p, p, int(used.sum()), n_pairs)


def _adjusted(tests: Sequence[Test]) -> list[Test]:
    adjusted = statistics.holm([test.p for test in tests])
    return [replace(test, p_adjusted=p) for test, p in zip(tests, adjusted, strict=True)]


def _word(card: TaskCard | None, by: str) -> str:
    if card is None:
        return ""
    return (card.modality if by == "modality" else card.body_part).casefold().strip()
