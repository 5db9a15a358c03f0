"""Augmentation: the source searches a policy, the target trains with it."""

from collections.abc import Generator

from aggregator.transfer.answer import Answer, Failed, Work, site_of
from aggregator.transfer.course import Script, StoppedError, done
from aggregator.transfer.setup import Setup
from federation.errors import TransferError
from federation.transfer.augmentation import AugmentationPolicy


def augmentation(setup: Setup, source: str, target: str, seed: int) -> Script:
    """Search at the source once for all its targets, then train at the target with what was found."""
    policy = yield from found_policy(setup, source, seed)
    return (yield from done(setup.at_target(target, seed, augmentation=policy)))


def found_policy(
    setup: Setup, source: str, seed: int
) -> Generator[tuple[Work, ...], tuple[Answer, ...], AugmentationPolicy]:
    """Search at the source, and return the best policy."""
    result = yield from done(setup.search(source, seed))
    if result.augmentation is None:
        raise StoppedError(Failed(TransferError.code, site_of(source)))
    return result.augmentation
