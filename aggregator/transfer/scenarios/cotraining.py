"""Co-training: source and target train a common backbone, each with a head of its own."""

from collections.abc import Sequence

from aggregator.transfer.answer import Average, Done, Failed
from aggregator.transfer.course import Script, StoppedError, done, result_of
from aggregator.transfer.setup import Setup
from federation.errors import ModelError

_FEWEST = 2


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
    start, present = str(setup.plan.network.start), tuple(sorted(members))
    last = setup.plan.co_training.rounds - 1
    for number in range(last):
        steps = {
            member: setup.common_round(member, members, shrunk, seed, number, start) for member in present
        }
        answers = dict(zip(present, (yield tuple(steps.values())), strict=True))
        result_of(answers[target])
        present = tuple(member for member in present if isinstance(answers[member], Done))
        if len(present) < _FEWEST:
            raise StoppedError(next(answer for answer in answers.values() if isinstance(answer, Failed)))
        averaged = yield from done(Average(tuple(steps[member] for member in present), start))
        if averaged.model_id is None:
            raise StoppedError(Failed(ModelError.code))
        start = averaged.model_id
    # Nothing is averaged after the last round, so that only the target needs it.
    return (yield from done(setup.common_round(target, members, shrunk, seed, last, start)))
