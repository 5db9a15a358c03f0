"""What an experiment that was not done yet would cost, from the steps of those that were."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean, median

from aggregator.transfer.experiment import Finding

_SHARED_BY_NO_ONE = ("co_training",)
Part = tuple[str, str]
"""A scenario and an address."""


@dataclass(frozen=True)
class Costs:
    """Seconds of one repetition, apart for what a source does once and what every target does anew.

    Args:
        at_source: Scenario and source → seconds; a source that is here need not train again.
        at_target: Scenario and target → seconds.
    """

    at_source: Mapping[Part, float] = field(default_factory=dict)
    at_target: Mapping[Part, float] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether anything was ever timed; else an experiment costs one unit per site that works for it."""
        return bool(self.at_target)

    def is_trained(self, scenario: str, source: str) -> bool:
        """Whether what a source passes on is there already."""
        return (scenario, source) in self.at_source

    def estimate(self, scenario: str, source: str, target: str) -> float:
        """Return what an experiment would cost: seconds, or units where nothing was timed."""
        if not self.known:
            return 1.0 + (not self.is_trained(scenario, source))
        own = self.at_target.get((scenario, target))
        work = own if own is not None else _usual(self.at_target, scenario)
        if self.is_trained(scenario, source) or scenario in _SHARED_BY_NO_ONE:
            return work
        return work + _usual(self.at_source, scenario)

    def with_source(self, scenario: str, source: str) -> "Costs":
        """Return the costs once a source is trained."""
        if self.is_trained(scenario, source) or scenario in _SHARED_BY_NO_ONE:
            return self
        trained = {**self.at_source, (scenario, source): _usual(self.at_source, scenario)}
        return replace(self, at_source=trained)


def costs(findings: Iterable[Finding], step_seconds: Mapping[str, float] | None = None) -> Costs:
    """Return what experiments cost.

    The last step of an experiment is the target's; those before it are the source's, who does them once for
    all targets. In co-training every pair does everything anew.

    Args:
        findings: The findings; those that are done count.
        step_seconds: Step id → seconds; a step without an entry is taken for an equal share of its
            experiment.
    """
    at_source: dict[Part, list[float]] = defaultdict(list)
    at_target: dict[Part, list[float]] = defaultdict(list)
    for each in findings:
        asked = each.experiment
        if each.state == "done" and asked.arm == "transfer" and each.steps:
            spent = [(step_seconds or {}).get(step, each.seconds / len(each.steps)) for step in each.steps]
            shared = [] if asked.scenario in _SHARED_BY_NO_ONE else spent[:-1]
            at_target[asked.scenario, asked.target].append(sum(spent) - sum(shared))
            if shared:
                at_source[asked.scenario, asked.source].append(sum(shared))
    return Costs(
        {key: fmean(seconds) for key, seconds in at_source.items()},
        {key: fmean(seconds) for key, seconds in at_target.items()},
    )


def _usual(parts: Mapping[Part, float], scenario: str) -> float:
    """Median of a scenario, or of all scenarios where it was never run."""
    own = [seconds for (name, _), seconds in parts.items() if name == scenario]
    return median(own or list(parts.values()) or [0.0])
