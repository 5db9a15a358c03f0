"""How much may be told in exact figures.

Whoever chooses the steps could otherwise have small sets measured, or train on and on and compare figures,
until they tell who is among the measured.
"""

from federation.errors import PolicyError, TransferError
from federation.transfer.result import StepResult
from site_agent.transfer.step_files import SiteSteps
from site_agent.transfer.work import Asked


def require_steps_left(asked: Asked) -> None:
    """Raise if so many steps of the task were begun already that no further one may be.

    Raises:
        PolicyError: If the policy's number of steps is reached.
    """
    limit, begun = asked.policy.in_transfer.steps, _begun(asked)
    if begun >= limit:
        raise PolicyError(
            f"task {asked.step.task} took part in {begun} steps, and the policy allows {limit}",
            remedy=f"raise steps of {_table(asked)} if more figures may leave",
        )


def require_enough_measured(asked: Asked, result: StepResult) -> None:
    """Raise if figures are about fewer images than the policy demands.

    Raises:
        TransferError: If they are.
    """
    least = asked.policy.in_transfer.measured_images
    if result.scores and result.n_measured < least:
        raise TransferError(
            f"task {asked.step.task} is measured on {result.n_measured} images, the policy demands {least}",
            remedy=f"lower measured_images of {_table(asked)} if they may leave all the same",
        )


def _table(asked: Asked) -> str:
    return f"[task.{asked.step.task}.transfer] in policy.toml"


def _begun(asked: Asked) -> int:
    kept = (files.running() or files.ended() for files in SiteSteps(asked.site.state.folder).all())
    return sum(1 for each in kept if each is not None and each.step.task == asked.step.task)
