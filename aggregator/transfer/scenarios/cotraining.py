"""Co-training: source and target train a common backbone, each with a head of its own."""

from collections.abc import Sequence

from aggregator.transfer.answer import Answer, Average, Done, Failed
from aggregator.transfer.averaging import FEWEST
from aggregator.transfer.course import Script, StoppedError, done
from aggregator.transfer.setup import Setup
from federation.errors import ModelError
from federation.transfer.step import CotrainStep


def co_training(
    setup: Setup, members: Sequence[str], shrunk: Sequence[str], target: str, seed: int
) -> Script:
    """Train in rounds with averaging between, and measure the last average at the target.

    A member that fails leaves the group; the target must stay, and somebody to train with.

    Args:
        setup: The plan.
        members: Addresses of who trains together, the target among them.
        shrunk: Those that train on as few images as the plan's targets.
        target: Address of the target.
        seed: The repetition.
    """
    group = setup.group(members, shrunk, seed)
    present, start = group.members, None
    for number in range(group.rounds):
        steps = tuple(group.step(member, number, start) for member in present)
        answers = yield steps
        arrived = {
            step.address: step
            for step, answer in zip(steps, answers, strict=True)
            if isinstance(answer, Done)
        }
        if len(arrived) < FEWEST or target not in arrived:
            raise StoppedError(_first_failed(answers, steps, target))
        present = tuple(member for member in present if member.address in arrived)
        averaged = yield from done(Average(group, tuple(arrived.values())))
        if averaged.model_id is None:
            raise StoppedError(Failed(ModelError.code))
        start = averaged.model_id
    # What is measured is the average, so that only the target needs the last step.
    measured = next(member for member in present if member.address == target)
    return (yield from done(group.step(measured, group.rounds, start)))


def _first_failed(answers: Sequence[Answer], steps: Sequence[CotrainStep], target: str) -> Failed:
    """Return why a round ends the training: the target's own reason before that of others."""
    failed = {
        step.address: answer
        for step, answer in zip(steps, answers, strict=True)
        if isinstance(answer, Failed)
    }
    return failed.get(target) or next(iter(failed.values()))
