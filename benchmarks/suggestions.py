"""How many experiments suggestions save: ``python -m benchmarks.suggestions DIR``.

DIR is a study as ``fedprint validate`` reads it, such as the published one of arXiv 2412.08763. It is played
again: nothing is measured at first, and every round measures as many pairs as there are targets, those that
are suggested. Random order is what each target would reach in expectation with as many sources by chance.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aggregator.study import Floats, Mask, Setting, Study
from aggregator.transfer.cost import Costs
from aggregator.transfer.suggest import suggest
from aggregator.validation.chance import expect_best
from aggregator.validation.directory import read_study

ROUNDS = 8
REFERENCE = 5
"""Sources per target that random order gets; how many do suggestions need for as much?"""


def main() -> None:
    """Print a table in Markdown."""
    study = read_study(Path(sys.argv[1]))
    print(f"| scenario, metric | {' | '.join(f'after {k}' for k in range(1, ROUNDS + 1))} | needed |")
    print("|---" * (ROUNDS + 2) + "|")
    for setting in study.outcomes:
        suggested, by_chance = replay(study, setting), random_order(study, setting)
        cells = [f"{a:.4f} ({b:.4f})" for a, b in zip(suggested, by_chance, strict=True)]
        said = f"{setting.scenario_in_words}, {setting.metric.upper()}"
        needed = rounds_needed(suggested, by_chance[REFERENCE - 1])
        print(f"| {said} | {' | '.join(cells)} | {needed:.1f} of {REFERENCE} |")


def replay(study: Study, setting: Setting, rounds: int = ROUNDS) -> list[float]:
    """Return the gain of the best source found so far, no transfer being one, mean over targets."""
    targets, candidates = study.target_indices(setting), study.candidates(setting)
    possible = {(study.tasks[s], study.tasks[t]) for t in targets for s in np.flatnonzero(candidates[:, t])}
    names = [study.tasks[target] for target in targets]
    equal = Costs(
        {(setting.scenario, task): 0.0 for task in study.tasks}, {(setting.scenario, names[0]): 1.0}
    )
    seen, reached = np.zeros(candidates.shape, dtype=bool), []
    for _ in range(rounds):
        found = suggest(
            _so_far(study, setting, seen),
            [setting],
            len(targets),
            costs=equal,
            allowed=lambda _, source, target: (source, target) in possible,
            targets=names,
        )
        for each in found:
            seen[study.index[each.source], study.index[each.target]] = True
        gains = [_gains(study, setting, t)[seen[candidates[:, t], t]] for t in targets]
        reached.append(float(np.mean([gain.max(initial=0.0) for gain in gains])))
    return reached


def random_order(study: Study, setting: Setting, rounds: int = ROUNDS) -> list[float]:
    """Return the same in expectation over random orders, every target getting as many sources."""
    gains = [np.maximum(_gains(study, setting, t), 0.0) for t in study.target_indices(setting)]
    return [float(np.mean([expect_best(gain, k) for gain in gains])) for k in range(1, rounds + 1)]


def rounds_needed(reached: Sequence[float], wanted: float) -> float:
    """Return after how many rounds a gain is reached, linear in between; infinite if never."""
    heights = np.maximum.accumulate([0.0, *reached])
    if heights[-1] < wanted:
        return float("inf")
    after = int(np.argmax(heights >= wanted))
    below, above = heights[after - 1], heights[after]
    return float(after - 1 + (wanted - below) / (above - below))


def _gains(study: Study, setting: Setting, target: int) -> Floats:
    outcomes = study.outcomes[setting]
    measured = study.candidates(setting)[:, target]
    return np.asarray(outcomes.performance[measured, target] - outcomes.mean_baseline[target])


def _so_far(study: Study, setting: Setting, seen: Mask) -> Study:
    outcomes = study.outcomes[setting]
    values = np.where(seen[None], outcomes.values, np.nan)
    return replace(study, outcomes={setting: replace(outcomes, values=values)})


if __name__ == "__main__":
    main()
