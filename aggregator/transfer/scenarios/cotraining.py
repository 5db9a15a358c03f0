"""Co-training: source and target train a common backbone, each with a head of its own."""

from collections.abc import Sequence

from aggregator.transfer.answer import Answer, Average, Done, Failed
from aggregator.transfer.averaging import FEWEST
from aggregator.transfer.course import Script, StoppedError, done
from aggregator.transfer.setup import Setup
from federation.errors import ModelError
from federation.transfer.step import CotrainStep

ONE_SITE = "one-site"
"""Why tasks of one site alone do not train together: their backbones never leave it to be averaged."""


def co_training(
    setup: Setup, members: Sequence[str], shrunk: Sequence[str], target: str, seed: int
) -> Script:
    """Train in rounds with averaging between, and return what the target scored after the last one.

    A member that fails leaves the group; the target must stay, and somebody to train with.

    Args:
        setup: The plan.
        members: Addresses of who trains together, the target among them.
        shrunk: Those that train on as few images as the plan's targets.
        target: Address of the target.
        seed: The repetition.
    """
    group = setup.group(members, shrunk, seed)
    if len(set(group.partners)) < FEWEST:
        raise StoppedError(Failed(ONE_SITE, group.partners[0]))
    present, start = group.addresses, None
    for number in range(group.rounds - 1):
        steps = [group.step(member, number, start) for member in present]
        answers = yield tuple(steps)
        came = zip(steps, answers, strict=True)
        arrived = {step.address: step for step, answer in came if isinstance(answer, Done)}
        if len(arrived) < FEWEST or target not in arrived:
            raise StoppedError(_first_failed(answers, steps, target))
        present = tuple(arrived)
        averaged = yield from done(Average(group.masked, tuple(arrived.values())))
        if averaged.model_id is None:
            raise StoppedError(Failed(ModelError.code))
        start = averaged.model_id
    # Nothing is averaged after the last round, so that only the target needs it.
    return (yield from done(group.step(target, group.rounds - 1, start)))


def _first_failed(answers: Sequence[Answer], steps: Sequence[CotrainStep], target: str) -> Failed:
    """Return why a round ends the training: the target's own reason before that of others."""
    came = zip(steps, answers, strict=True)
    failed = {step.address: answer for step, answer in came if isinstance(answer, Failed)}
    return failed.get(target) or next(iter(failed.values()))
