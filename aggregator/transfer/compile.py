"""From a plan to its experiments: one course each, in the order in which they are begun."""

from collections.abc import Iterator

from aggregator.transfer.answer import Failed
from aggregator.transfer.course import Course, Script
from aggregator.transfer.experiment import Experiment
from aggregator.transfer.scenarios.architecture import architecture
from aggregator.transfer.scenarios.augmentation import augmentation
from aggregator.transfer.scenarios.baseline import baseline
from aggregator.transfer.scenarios.combined import combined
from aggregator.transfer.scenarios.cotraining import co_training
from aggregator.transfer.scenarios.pretraining import pretraining
from aggregator.transfer.setup import Setup

TRANSFER = "transfer"
BASELINE = "baseline"
"""The scenario of experiments without a source."""

PAIR_SCRIPTS = {
    "pretraining": pretraining,
    "architecture": architecture,
    "augmentation": augmentation,
    "combined": combined,
}


def courses(setup: Setup) -> list[Course]:
    """Return every experiment of a plan; the same plan, policies and pairs give the same ones."""
    found = list(_baselines(setup))
    for seed in setup.plan.seeds:
        for scenario in setup.plan.scenarios:
            if scenario == "co_training":
                found += _common_trainings(setup, seed)
            else:
                found += _transfers(setup, scenario, seed)
    return found


def targets(setup: Setup) -> list[str]:
    """Return the addresses of all targets."""
    grouped = setup.plan.co_training.addresses if "co_training" in setup.plan.scenarios else ()
    return sorted({target for _, target in setup.pairs}.union(grouped))


def _baselines(setup: Setup) -> Iterator[Course]:
    for seed in setup.plan.seeds:
        for target in targets(setup):
            for arm in setup.plan.baselines:
                experiment = Experiment(BASELINE, arm, "", target, seed, setup.plan.n_train)
                yield Course(experiment, baseline(setup, target, seed, arm))


def _transfers(setup: Setup, scenario: str, seed: int) -> Iterator[Course]:
    script = PAIR_SCRIPTS[scenario]
    for source, target in setup.pairs:
        yield _transfer(setup, scenario, source, target, seed, script(setup, source, target, seed))


def _common_trainings(setup: Setup, seed: int) -> Iterator[Course]:
    """Every source with every target; or the groups that the plan names, in which everybody is a target."""
    groups = setup.plan.co_training.parties
    for cohort, group in groups:
        for target in sorted(group):
            source = " + ".join(sorted(set(group) - {target}))
            script = co_training(setup, group, group, target, seed, cohort)
            yield _transfer(setup, "co_training", source, target, seed, script)
    for source, target in () if groups else setup.pairs:
        # Where nothing is shrunk both directions are one common training.
        shrunk = (target,) if setup.plan.n_train else ()
        script = co_training(setup, (source, target), shrunk, target, seed)
        yield _transfer(setup, "co_training", source, target, seed, script)


def _transfer(setup: Setup, scenario: str, source: str, target: str, seed: int, script: Script) -> Course:
    experiment = Experiment(scenario, TRANSFER, source, target, seed, setup.plan.n_train)
    return Course(experiment, script, _obstacle(setup, target, seed))


def _obstacle(setup: Setup, target: str, seed: int) -> Failed | None:
    """Return why nothing needs to be done for a target: what it is good for could not be measured."""
    return setup.offers.obstacle(setup.at_target(target, seed))
