"""Networks that gradients per image can be taken of: nothing in them may look at several images at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from opacus import GradSampleModule
from opacus.grad_sample.functorch import prepare_layer
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from federation.errors import TrainingError

_LEFT_BEHIND = ("grad_sample", "_forward_counter", "_current_grad_sample", "activations", "max_batch_len")


class PerImage(GradSampleModule):  # type: ignore[misc]
    """Opacus' gradients per image, taken where a layer's output is made.

    Opacus listens at layers as a whole, which forbids a network to write over a layer's output, as residual
    networks do when they add a shortcut. What listens at the output itself does not mind.
    """

    def add_hooks(
        self, *, loss_reduction: str = "sum", batch_first: bool = True, force_functorch: bool = False
    ) -> None:
        """Listen at every trained layer; arguments as in the base class."""
        del loss_reduction  # the base class keeps it
        self._module.autograd_grad_sample_hooks = self.autograd_grad_sample_hooks = []
        for layer in self.iterate_submodules(self._module):
            if force_functorch or type(layer) not in self.GRAD_SAMPLERS:
                prepare_layer(layer, batch_first=batch_first)
            self.autograd_grad_sample_hooks.append(layer.register_forward_hook(self._listen))
        self.enable_hooks()

    def _listen(self, layer: nn.Module, given: list[torch.Tensor], made: torch.Tensor) -> None:
        if not made.requires_grad:
            return
        self.capture_activations_hook(layer, given, made)

        def take(gradient: torch.Tensor) -> None:
            self.capture_backprops_hook(layer, None, (gradient,), self.loss_reduction, self.batch_first)

        made.register_hook(take)  # type: ignore[no-untyped-call]


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
def keeping_gradients_per_image(network: nn.Module) -> Iterator[PerImage]:
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
        wrapped = PerImage(network, loss_reduction="sum", strict=True)
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
    """Remove what Opacus leaves behind."""
    for owner in (*network.parameters(), *network.modules()):
        for name in _LEFT_BEHIND:
            if hasattr(owner, name):
                delattr(owner, name)
