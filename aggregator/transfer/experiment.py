"""An experiment: what one source does for one target, and what was found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from federation.transfer.result import Score

Scenario = Literal["pretraining", "architecture", "augmentation", "co_training", "combined"]
Arm = Literal["transfer", "imagenet", "scratch"]
"""With a source; or without, from published weights; or without, from random ones."""

State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True, order=True)
class Experiment:
    """One cell of the result table.

    Args:
        scenario: What is passed on.
        arm: Whether there is a source, and else where the weights begin.
        source: Address of the source, ``site/task``; empty without one.
        target: Address of the target.
        seed: Which repetition.
        n_train: Training images of the target; 0: all of them.
    """

    scenario: str
    arm: str
    source: str
    target: str
    seed: int
    n_train: int = 0


@dataclass(frozen=True)
class Finding:
    """What became of an experiment.

    Args:
        experiment: The experiment.
        state: How far it is.
        reason: Code of the error that ended it, and at which site; empty where there is none.
        scores: Metric → score on the target's test images.
        baseline: Metric → the target's value without transfer under the same budget, split and seed.
        seconds: Time its own steps took at all sites together.
        steps: Ids of the steps it is made of, in order.
    """

    experiment: Experiment
    state: State
    reason: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    steps: tuple[str, ...] = ()
