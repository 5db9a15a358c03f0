"""The one place at which it is decided whether a model leaves, and paid for."""

from federation.canonical import sha256_hex
from federation.errors import PolicyError
from federation.transfer.result import StepResult
from federation.transfer.step import CotrainStep, SearchStep, Step
from site_agent.policy import TaskPolicy
from site_agent.transfer.private_models import charge_model, is_charged, require_payable
from site_agent.transfer.work import Asked


def recipients(step: Step) -> tuple[str, ...]:
    """Return the other sites that the model of a step shall travel to."""
    return tuple(sorted(set(_named(step)) - {step.site}))


def require_departure(policy: TaskPolicy, step: Step) -> None:
    """Raise unless the policy lets everything leave that a step would say; asked before any work.

    Raises:
        PolicyError: If it does not.
    """
    policy.in_transfer.require_measured()
    to = recipients(step)
    if _is_masked(step):
        policy.in_transfer.require_sum(_named(step))
    elif to:
        policy.in_transfer.require_model(to, private=step.recipe.private is not None)


def require_means(asked: Asked) -> None:
    """Raise unless the model of a step could be paid for, where one shall leave; asked before any work.

    Raises:
        BudgetError: If no budget would pay for it.
        NotReleasableError: If something about the data stands against it.
        PolicyError: If the policy does not let it leave.
        TrainingError: If the recipe leaves to the data what must be public.
    """
    if _is_paid_for(asked.policy, asked.step):
        require_payable(asked)


def is_settled(asked: Asked) -> bool:
    """Return whether the model of a step was paid for already, so that no other of it may be made use of.

    Raises:
        LedgerError: If the ledger is missing or damaged.
    """
    return _is_paid_for(asked.policy, asked.step) and is_charged(asked)


def require_paid(policy: TaskPolicy, step: Step, result: StepResult) -> None:
    """Raise where a model of a step that is done would leave unpaid, as the policy let it when it was made.

    Raises:
        PolicyError: If the policy demands payment now and there was none.
    """
    if _is_paid_for(policy, step) and result.privacy is None:
        raise PolicyError(
            f"task {policy.name}: the model of step {step.step_id[:12]} was made under a policy that let "
            "models leave unpaid, and the policy is another now",
            remedy="train anew under another seed",
        )


def let_leave(asked: Asked, result: StepResult, model: bytes) -> tuple[StepResult, bytes]:
    """Return what may be said of what was found; the model only where policy and budget let it leave.

    A model that shall travel to its own site alone stays here under its id; later steps can begin at it.

    Args:
        asked: The step and the site's policy.
        result: What was found.
        model: The signed model, or nothing.

    Raises:
        BudgetError: If no budget pays for the model; nothing leaves then.
        PolicyError: If the policy does not let it leave.
    """
    said = _without_counts(asked.step, result).model_copy(update={"model_id": None})
    if not model or not _named(asked.step) or _hides_its_model(asked.step):
        return said, b""
    require_departure(asked.policy, asked.step)
    if _is_paid_for(asked.policy, asked.step):
        said, model = charge_model(asked, said, model)
    return said.model_copy(update={"model_id": sha256_hex(model)}), model


def _named(step: Step) -> tuple[str, ...]:
    if isinstance(step, SearchStep):
        return ()
    return step.partners if isinstance(step, CotrainStep) else step.travels_to


def _is_paid_for(policy: TaskPolicy, step: Step) -> bool:
    """Return whether a model shall leave as it is whose patients the ledger protects."""
    return bool(recipients(step)) and not _is_masked(step) and policy.in_transfer.models == "private"


def _is_masked(step: Step) -> bool:
    return isinstance(step, CotrainStep) and step.masked


def _hides_its_model(step: Step) -> bool:
    """Return whether a model must stay: of masked training only that leaves at which it begins."""
    return isinstance(step, CotrainStep) and step.masked and step.round > 0


def _without_counts(step: Step, result: StepResult) -> StepResult:
    """Leave out what a model that is trained with noise would not tell: exact counts, and times."""
    if step.recipe.private is None:
        return result
    return result.model_copy(update={"n_train": step.n_train or 0, "seconds": 0.0})
