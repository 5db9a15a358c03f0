"""Every selector, judged on every setting of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aggregator.study import Floats, Setting, Study, mean_of_known
from aggregator.validation.bootstrap import target_intervals
from aggregator.validation.chance import expect_random, null_interval, score_no_transfer
from aggregator.validation.metrics import BEST_OF, METRICS, score_target
from aggregator.validation.selectors import NO_TRANSFER, RANDOM, Selector
from aggregator.validation.wins import win_rates

_INTERVALS = tuple(name for name in METRICS if name not in BEST_OF)


@dataclass(frozen=True)
class Result:
    """How one selector did in one setting, as means over targets.

    Args:
        selector: Name of the selector.
        setting: What was transferred and how success was measured.
        n_targets: Targets for which the selector had a score.
        means: Mean per name in ``metrics.METRICS``, NaN where undefined.
        intervals: Lower and upper end of the 95 % interval per name, over resampled targets; for the
            weighted tau of ``random`` the interval in which a random ranking falls.
        win_rate: Share of comparisons in which no other selector was better, NaN for references.
    """

    selector: str
    setting: Setting
    n_targets: int
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    win_rate: float

    @property
    def improvement_rate(self) -> list[float]:
        """Share of targets where the best of the first one, two, … choices beats no transfer."""
        return [self.means[name] for name in BEST_OF]

    def to_json(self) -> dict[str, Any]:
        """Return a dict of finite numbers and None; keys as docs/validation.md lists them."""
        scores: dict[str, Any] = {}
        for name in _INTERVALS:
            scores[name] = _finite(self.means[name])
            scores[f"{name}_ci"] = _interval(self.intervals[name])
        return {
            "selector": self.selector,
            "scenario": self.setting.scenario,
            "metric": self.setting.metric,
            "n_targets": self.n_targets,
            **scores,
            "improvement_rate": [_finite(rate) for rate in self.improvement_rate],
            "improvement_rate_ci": [_interval(self.intervals[name]) for name in BEST_OF],
            "win_rate": _finite(self.win_rate),
        }


def evaluate(study: Study, selectors: Sequence[Selector]) -> list[Result]:
    """Return the results of all selectors, then of random choice and of no transfer, for every setting.

    Args:
        study: Distances and outcomes.
        selectors: What is judged; see ``selectors.selectors``.
    """
    return [result for setting in study.outcomes for result in _evaluate_setting(study, setting, selectors)]


def target_scores(study: Study, setting: Setting, affinities: Floats) -> Floats:
    """Return the scores on every judged target, outcomes averaged over seeds first.

    Args:
        study: Distances and outcomes.
        setting: Whose outcomes.
        affinities: float64 [n_selectors, n_tasks, n_tasks].

    Returns:
        float64 [n_selectors, n_targets, n_metrics], targets as in ``study.target_indices``.
    """
    outcomes, candidates = study.outcomes[setting], study.candidates(setting)
    scores = [
        score_target(
            affinities[:, candidates[:, target], target],
            outcomes.performance[candidates[:, target], target],
            outcomes.mean_baseline[target],
        )
        for target in study.target_indices(setting)
    ]
    shape = (len(affinities), len(scores), len(METRICS))
    return np.stack(scores, axis=1) if scores else np.empty(shape)


def _evaluate_setting(study: Study, setting: Setting, selectors: Sequence[Selector]) -> list[Result]:
    shape = (len(selectors), len(study.tasks), len(study.tasks))
    affinities = np.reshape([each.affinity(study, setting) for each in selectors], shape)
    wins = win_rates(study, setting, affinities)
    judged = [
        _summarise(selector.name, setting, scores, win_rate)
        for selector, scores, win_rate in zip(
            selectors, target_scores(study, setting, affinities), wins, strict=True
        )
    ]
    return [*judged, *_references(study, setting)]


def _references(study: Study, setting: Setting) -> list[Result]:
    outcomes, candidates = study.outcomes[setting], study.candidates(setting)
    targets = study.target_indices(setting)
    cases = [(outcomes.performance[candidates[:, t], t], outcomes.mean_baseline[t]) for t in targets]
    chance, nothing = (
        _summarise(name, setting, np.reshape([score(*each) for each in cases], (-1, len(METRICS))))
        for name, score in ((RANDOM, expect_random), (NO_TRANSFER, score_no_transfer))
    )
    if targets:
        null = null_interval([int(candidates[:, target].sum()) for target in targets])
        chance = replace(chance, intervals={**chance.intervals, "weighted_tau": null})
    return [chance, nothing]


def _summarise(name: str, setting: Setting, scores: Floats, win_rate: float = np.nan) -> Result:
    return Result(
        selector=name,
        setting=setting,
        n_targets=int(np.isfinite(scores).any(axis=1).sum()),
        means=dict(zip(METRICS, mean_of_known(scores).tolist(), strict=True)),
        intervals=dict(zip(METRICS, zip(*target_intervals(scores).tolist(), strict=True), strict=True)),
        win_rate=float(win_rate),
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _interval(ends: tuple[float, float]) -> list[float] | None:
    return list(ends) if np.isfinite(ends).all() else None
