"""Architecture: the source ranks networks on its validation images, the target uses the best one."""

from collections.abc import Generator

from aggregator.transfer.answer import Answer, Done, Failed, Work
from aggregator.transfer.course import Script, StoppedError, done
from aggregator.transfer.setup import Setup
from federation.errors import (
    DataError,
    ExtractorError,
    MemoryShortError,
    ModelError,
    PolicyError,
    TrainingError,
    TransferError,
)
from federation.transfer.recipe import Network
from federation.transfer.result import AUROC

LEFT_OUT = frozenset(
    error.code
    for error in (
        DataError,
        ExtractorError,
        MemoryShortError,
        ModelError,
        PolicyError,
        TrainingError,
        TransferError,
    )
)
"""A network that a site cannot train for one of these reasons is never its best; after another reason, such
as a site that went away, nobody knows which one is."""


def architecture(setup: Setup, source: str, target: str, seed: int) -> Script:
    """Rank at the source, then train the best network at the target; all begin at the same start."""
    best = yield from best_network(setup, source, seed)
    step = setup.at_target(target, seed, network=best, start=setup.plan.architecture.start)
    return (yield from done(step))


def best_network(
    setup: Setup, source: str, seed: int
) -> Generator[tuple[Work, ...], tuple[Answer, ...], Network]:
    """Train every candidate at the source, and return the one of highest validation AUROC.

    Of equal ones the first of the plan is taken.
    """
    candidates = setup.plan.candidates
    answers = yield tuple(setup.candidate(source, seed, network) for network in candidates)
    for answer in answers:
        if isinstance(answer, Failed) and answer.code not in LEFT_OUT:
            raise StoppedError(answer)
    ranked = [
        (answer.result.scores[AUROC].value, -i)
        for i, answer in enumerate(answers)
        if isinstance(answer, Done) and AUROC in answer.result.scores
    ]
    if not ranked:
        failed = next((answer for answer in answers if isinstance(answer, Failed)), None)
        raise StoppedError(
            failed or Failed(TransferError.code, setup.candidate(source, seed, candidates[0]).site)
        )
    return candidates[-max(ranked)[1]]
