"""Pretraining: the source trains, its weights travel, the target goes on from there."""

from collections.abc import Generator

from aggregator.transfer.answer import Answer, Failed, Work, site_of
from aggregator.transfer.course import Script, StoppedError, done
from aggregator.transfer.offers import POLICY
from aggregator.transfer.setup import Setup
from federation.errors import ModelError
from federation.transfer.recipe import Network


def pretraining(setup: Setup, source: str, target: str, seed: int) -> Script:
    """Train at the source once for all its targets, then at the target from its weights."""
    model = yield from travelling_model(setup, source, target, seed)
    return (yield from done(setup.at_target(target, seed, start=model)))


def travelling_model(
    setup: Setup, source: str, target: str, seed: int, network: Network | None = None, start: str = ""
) -> Generator[tuple[Work, ...], tuple[Answer, ...], str]:
    """Train at the source, and return the id of its model."""
    step = setup.model_of(source, seed, network=network, start=start)
    if site_of(target) not in step.travels_to:
        raise StoppedError(Failed(POLICY, step.site))
    result = yield from done(step)
    if result.model_id is None:
        raise StoppedError(Failed(ModelError.code, step.site))
    return result.model_id
