"""Co-training: source and target train a common backbone, each with a head of its own."""

from collections.abc import Iterable, Sequence

from aggregator.transfer.answer import Answer, Average, Done, Failed, site_of
from aggregator.transfer.averaging import FEWEST
from aggregator.transfer.course import Script, StoppedError, done
from aggregator.transfer.setup import Setup
from federation.errors import ModelError
from federation.secagg import graph
from federation.transfer.result import StepResult
from federation.transfer.step import CotrainStep

ONE_SITE = "one-site"
"""Why tasks of one site alone do not train together: their backbones never leave it to be averaged."""


def co_training(
    setup: Setup, members: Sequence[str], shrunk: Sequence[str], target: str, seed: int, cohort: str = ""
) -> Script:
    """Train in rounds with averaging between, and return what the target scored after the last one.

    A member that fails leaves the group, and so does one that is missing in a sum under masks; the target
    must stay, and somebody to train with.

    Args:
        setup: The plan.
        members: Addresses of who trains together, the target among them.
        shrunk: Those that train on as few images as the plan's targets.
        target: Address of the target.
        seed: The repetition.
        cohort: The cohort that the members' policies let sum their updates under masks; empty: updates leave.
    """
    group = setup.group(members, shrunk, seed, masked=bool(cohort))
    fewest = graph.minimum(len(members)) if cohort else FEWEST
    if len(set(group.partners)) < FEWEST:
        raise StoppedError(Failed(ONE_SITE, group.partners[0]))
    present, start = group.addresses, None
    for number in range(group.rounds - 1):
        steps = [group.step(member, number, start) for member in present]
        answers = yield tuple(steps)
        came = zip(steps, answers, strict=True)
        arrived = {step.address: step for step, answer in came if isinstance(answer, Done)}
        if len(arrived) < fewest or target not in arrived:
            raise StoppedError(_first_failed(answers, steps, target))
        averaged = yield from done(Average(tuple(arrived.values()), cohort))
        present = _contributing(arrived, averaged, target)
        if averaged.model_id is None:
            raise StoppedError(Failed(ModelError.code))
        start = averaged.model_id
    # Nothing is averaged after the last round, so that only the target needs it.
    return (yield from done(group.step(target, group.rounds - 1, start)))


def _contributing(arrived: Iterable[str], averaged: StepResult, target: str) -> tuple[str, ...]:
    """Return who is in an average, and may go on; raise StoppedError where the target is not."""
    why = averaged.left_out.get(site_of(target))
    if why is not None:
        raise StoppedError(Failed(why, site_of(target)))
    return tuple(address for address in arrived if site_of(address) not in averaged.left_out)


def _first_failed(answers: Sequence[Answer], steps: Sequence[CotrainStep], target: str) -> Failed:
    """Return why a round ends the training: the target's own reason before that of others."""
    came = zip(steps, answers, strict=True)
    failed = {step.address: answer for step, answer in came if isinstance(answer, Failed)}
    return failed.get(target) or next(iter(failed.values()))
