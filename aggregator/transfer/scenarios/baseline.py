"""Without a source: the target alone, from published or random weights."""

from aggregator.transfer.course import Script, done
from aggregator.transfer.setup import Setup


def baseline(setup: Setup, target: str, seed: int, start: str) -> Script:
    """Train at the target, on the same images and with the same budget as every transfer."""
    return (yield from done(setup.at_target(target, seed, start=start)))
