"""Which experiments to do next: those that promise their targets most for the time they take."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.recommender import LearnedRecommender
from aggregator.recommender.learned import LEVEL
from aggregator.recommender.reasons import reasons, visible
from aggregator.report.words import say_plural
from aggregator.study import Setting, Study
from aggregator.transfer.cost import Costs
from aggregator.transfer.outlook import Outlook
from federation.names import task_key
from federation.transfer.messages import Offer

Allowed = Callable[[str, str, str], bool]
"""Whether policies allow an experiment: scenario, source, target."""


@dataclass(frozen=True)
class Suggestion:
    """One experiment that was not done yet.

    Args:
        scenario: What would be passed on.
        metric: By which metric it was weighed.
        source: Address of the source.
        target: Address of the target.
        improvement: By how much the target's best choice is expected to improve.
        seconds: What one repetition would take, NaN where nothing was ever timed.
        gain: Expected gain over no transfer.
        low: Lower end of its 80 % interval.
        high: Upper end.
        reasons: Why, in words.
    """

    scenario: str
    metric: str
    source: str
    target: str
    improvement: float
    seconds: float
    gain: float
    low: float
    high: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Setting:
    """What was learned in one setting, and the outlook of every target."""

    recommender: LearnedRecommender
    outlooks: dict[int, Outlook]

    @property
    def setting(self) -> Setting:
        return self.recommender.evidence.setting


def suggest(
    study: Study,
    settings: Sequence[Setting],
    n: int = 10,
    *,
    costs: Costs | None = None,
    allowed: Allowed | None = None,
    targets: Iterable[str] | None = None,
    nearest_by: str = "",
) -> tuple[Suggestion, ...]:
    """Return the experiments that promise most per time, best first.

    Each is chosen as if those before it had been done and brought what is expected. Pairs that were measured,
    pairs that share images and pairs that policies forbid are never named. Without any outcome the prior and
    the distances speak: nearest sources first, each target once.

    Args:
        study: Tasks, distances, groups, facts and what was measured so far.
        settings: Scenarios, each with the metric that is to be improved.
        n: How many at most.
        costs: What experiments take.
        allowed: What policies allow; None: everything.
        targets: Addresses of targets that count, by default all of the study.
        nearest_by: Distance that ranks sources where nothing was measured; empty for the mean of all.
    """
    wanted = [study.index[target] for target in (study.targets if targets is None else targets)]
    learned = [_learn(study, setting, wanted, allowed, nearest_by) for setting in settings]
    spent = costs or Costs()
    found: list[Suggestion] = []
    while len(found) < n:
        choice = _best(study, learned, spent)
        if choice is None:
            break
        each, target, place = choice
        found.append(_suggestion(study, each, target, place, spent))
        outlook = each.outlooks[target]
        each.outlooks[target] = outlook.trying(place)
        spent = spent.with_source(each.setting.scenario, study.tasks[int(outlook.sources[place])])
    return tuple(found)


def _learn(
    study: Study, setting: Setting, targets: Sequence[int], allowed: Allowed | None, nearest_by: str
) -> _Setting:
    recommender = LearnedRecommender.fit(study, setting, nearest_by=nearest_by)
    outlooks = {}
    for target in targets:
        address = study.tasks[target]
        barred = [allowed is not None and not allowed(setting.scenario, s, address) for s in study.tasks]
        outlooks[target] = Outlook.of(recommender, target, np.array(barred, dtype=bool))
    return _Setting(recommender, outlooks)


def _best(study: Study, learned: Sequence[_Setting], costs: Costs) -> tuple[_Setting, int, int] | None:
    """The pair of the highest promise per cost: setting, target, and place among the target's sources."""
    best, choice = 0.0, None
    for each in learned:
        for target, outlook in each.outlooks.items():
            prices = [
                costs.estimate(each.setting.scenario, study.tasks[source], study.tasks[target])
                for source in outlook.sources
            ]
            score = outlook.improvement / np.maximum(prices, 1e-9)
            if len(score) and score.max() > best:
                best, choice = float(score.max()), (each, target, int(score.argmax()))
    return choice


def _suggestion(study: Study, each: _Setting, target: int, place: int, costs: Costs) -> Suggestion:
    outlook, setting = each.outlooks[target], each.setting
    source, address = study.tasks[int(outlook.sources[place])], study.tasks[target]
    standing = outlook.standing[place : place + 1]
    (low, high), gain = outlook.model.interval(standing, LEVEL), outlook.model.gain(standing)
    seconds = costs.estimate(setting.scenario, source, address) if costs.known else float("nan")
    return Suggestion(
        setting.scenario,
        setting.metric,
        source,
        address,
        float(outlook.improvement_in_metric[place]),
        seconds,
        float(gain[0]),
        float(low[0]),
        float(high[0]),
        (
            *_source_reasons(each, target, place),
            _say_target(outlook),
            *_say_cost(setting.scenario, source, costs),
        ),
    )


def _source_reasons(each: _Setting, target: int, place: int) -> tuple[str, ...]:
    evidence, outlook = each.recommender.evidence, each.outlooks[target]
    family = evidence.family(target)
    known = visible(evidence.standing, family)
    parts = {name: float(part[place]) for name, part in outlook.parts.items()}
    identical = evidence.identical_sources(family)
    return reasons(evidence, int(outlook.sources[place]), target, parts, known, identical)


def _say_target(outlook: Outlook) -> str:
    if not outlook.n_tried:
        return "no source was tried at the target yet"
    return f"{say_plural(outlook.n_tried, 'source')} tried or suggested at the target"


def _say_cost(scenario: str, source: str, costs: Costs) -> tuple[str, ...]:
    if scenario == "co_training":
        return ()
    trained = costs.is_trained(scenario, source)
    return ("the source's part is done already",) if trained else ("the source has to begin from nothing",)


def allowed_by(offers: Mapping[str, Sequence[Offer]], combined: Sequence[str] = ()) -> Allowed:
    """Return what the policies of sites allow, as far as they answered a roll call.

    Figures may leave of both tasks; where weights are passed on, the source's may travel to the target's
    site, and in co-training, which has no noise, the reverse too.

    Args:
        offers: Site → what it offers.
        combined: What is passed on together in the scenario of that name.
    """
    known = {task_key(site, offer.task): offer for site, stated in offers.items() for offer in stated}

    def allowed(scenario: str, source: str, target: str) -> bool:
        if not all(task in known and known[task].measured for task in (source, target)):
            return False
        there, back = (known[source], _site(target)), (known[target], _site(source))
        if scenario == "co_training":
            return all(offer.models == "exact" and _may_travel(offer, to) for offer, to in (there, back))
        weights = "pretraining" in (combined if scenario == "combined" else (scenario,))
        return not weights or _may_travel(*there)

    return allowed


def _site(address: str) -> str:
    return address.partition("/")[0]


def _may_travel(offer: Offer, site: str) -> bool:
    return bool(offer.models) and (not offer.models_to or site in offer.models_to)
