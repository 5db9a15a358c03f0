"""Combined: several things of the same source at once, which the papers left open."""

from aggregator.transfer.course import Script, done
from aggregator.transfer.scenarios.architecture import best_network
from aggregator.transfer.scenarios.augmentation import found_policy
from aggregator.transfer.scenarios.pretraining import travelling_model
from aggregator.transfer.setup import Setup


def combined(setup: Setup, source: str, target: str, seed: int) -> Script:
    """Train at the target with the source's best network, its weights of that network, and its policy.

    Each part is what the scenario of that name passes on, so that its steps are shared with that scenario.
    """
    plan, parts = setup.plan, setup.plan.combined.parts
    network, start, policy = plan.network.architecture, str(plan.network.start), None
    if "architecture" in parts:
        network = yield from best_network(setup, source, seed)
        start = plan.architecture.start
    if "augmentation" in parts:
        policy = yield from found_policy(setup, source, seed)
    if "pretraining" in parts:
        start = yield from travelling_model(setup, source, target, seed, network, start)
    step = setup.at_target(target, seed, network=network, start=start, augmentation=policy)
    return (yield from done(step))
