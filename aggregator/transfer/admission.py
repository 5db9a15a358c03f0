"""What the aggregator demands of a step's result before it believes it; signature and nonce were checked."""

from aggregator.measurement import objection
from aggregator.transfer.offers import recipients
from federation.errors import FedprintError, MessageError, ModelError
from federation.transfer.messages import TransferReply
from federation.transfer.model import TravellingModel
from federation.transfer.result import AUROC, METRICS, StepResult
from federation.transfer.step import CotrainStep, SearchStep, Step, TrainStep


def admit(step: Step, reply: TransferReply, public_key: str) -> StepResult:
    """Return what a step found.

    Args:
        step: The step.
        reply: A site's verified reply that it is done.
        public_key: The site's key in the roster.

    Raises:
        MessageError: If the result cannot be one of the step.
        ModelError: If its model is missing, or not what the step should have made.
    """
    result = reply.result
    if result is None:
        raise MessageError(f"{step.address} is done without a result")
    _check_scores(step, result)
    if _is_measured(step) and AUROC not in result.scores:
        raise MessageError(f"{step.address} should have been measured and tells no {AUROC}")
    if isinstance(step, SearchStep) and result.augmentation is None:
        raise MessageError(f"{step.address} searched an augmentation policy and names none")
    if reply.model and result.model_id is not None:
        _verify_model(reply.model, result.model_id, step, public_key)
    elif sends_model(step):
        raise ModelError(f"{step.address} should have sent a model and sent none")
    return result


def sends_model(step: Step) -> bool:
    """Return whether a model must come with the result of a step."""
    if isinstance(step, CotrainStep) and (step.round == step.rounds - 1 or (step.masked and step.round)):
        return False
    return bool(recipients(step))


def _is_measured(step: Step) -> bool:
    """Return whether figures must come with the result of a step; training with noise has none."""
    if isinstance(step, CotrainStep):
        return step.round == step.rounds - 1
    return isinstance(step, TrainStep) and step.recipe.private is None


def _check_scores(step: Step, result: StepResult) -> None:
    for metric, score in result.scores.items():
        if metric not in METRICS:
            raise MessageError(f"{step.address} was measured by {metric[:20]!r}, which nobody asked for")
        for value in (score.value, score.low, score.high):
            against = objection(metric, value)
            if against:
                raise MessageError(f"{metric} of {step.address} is {against[0]}")


def _verify_model(data: bytes, model_id: str, step: Step, public_key: str) -> None:
    try:
        model = TravellingModel.from_bytes(data, model_id)
    except ModelError:
        raise
    except FedprintError as error:
        raise ModelError(error.problem, remedy=error.remedy) from error
    if model.public_key != public_key:
        raise ModelError(f"the model of {step.address} is not signed with the key of site {step.site}")
    made_by = (model.site, model.task, model.step_id, model.network)
    if made_by != (step.site, step.task, step.step_id, step.network):
        raise ModelError(f"the model of {step.address} says that it comes from another task, step or network")
    if step.recipe.private is not None and model.privacy is None:
        raise ModelError(f"the model of {step.address} should be private and states no privacy")
