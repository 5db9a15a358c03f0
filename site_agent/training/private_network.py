"""Networks that gradients per image can be taken of: nothing in them may look at several images at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from federation.errors import TrainingError


def require_private(network: nn.Module) -> None:
    """Raise unless gradients per image mean something in a network in training mode, and Opacus has them.

    Opacus knows layers by their exact class, so that it takes timm's normalisation with an activation for
    harmless; layers that keep statistics of batches are therefore found by what they inherit.

    Raises:
        TrainingError: Naming the layer.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, _NormBase) and (layer.track_running_stats or "Batch" in type(layer).__name__):
            raise TrainingError(
                f"layer {name} ({type(layer).__name__}) looks at all images of a batch at once, so that no "
                "gradient belongs to one patient",
                remedy="freeze its statistics (published weights) or normalise over groups (random ones)",
            )
    problems = ModuleValidator.validate(network, strict=False)
    if problems:
        raise TrainingError(
            f"the network cannot be trained with noise: {str(problems[0])[:200]}",
            remedy="choose another network, or train only a head",
        )


@contextmanager
def keeping_gradients_per_image(network: nn.Module) -> Iterator[GradSampleModule]:
    """Let a network keep gradients per image for a while, with nothing in it left to chance.

    Only layers that hold parameters are told to train: dropout and stochastic depth would draw what belongs
    to an image from a stream that depends on how many others there are.

    Raises:
        TrainingError: If that cannot be done with the network.
    """
    require_private(network.train())
    for layer in network.modules():
        layer.training = _is_trained(layer)
        if getattr(layer, "inplace", False):  # would write over what Opacus keeps for the way back
            layer.inplace = False  # type: ignore[assignment]
    try:
        wrapped = GradSampleModule(network, loss_reduction="sum", strict=True)
    except (NotImplementedError, ValueError) as error:
        raise TrainingError(
            f"the network cannot be trained with noise: {str(error)[:200]}", remedy="choose another network"
        ) from error
    try:
        yield wrapped
    finally:
        wrapped.remove_hooks()
        _forget(network)


def _is_trained(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters(recurse=False))


def _forget(network: nn.Module) -> None:
    for parameter in network.parameters():
        for name in ("grad_sample", "_forward_counter", "_current_grad_sample"):
            if hasattr(parameter, name):
                delattr(parameter, name)
