"""Per-image squared gradients of chosen weights, from one batched forward and backward pass.

Weights stay frozen, so that the backward pass computes gradients of activations only, and it ends at the
first chosen layer. Each layer's squares are taken as soon as the gradient at its output is known; nothing but
the inputs of layers is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from federation.errors import ExtractorError
from federation.sketches.fisher_parameters import Granularity
from site_agent.fisher.calls import Call, observe


class SquaredGradients(TorchFunctionMode):
    """While active, observes the calls that use chosen weights; a backward pass then takes their squares.

    Args:
        weights: The weights by name of their layer.
        granularity: What is averaged.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], granularity: Granularity) -> None:
        super().__init__()
        self._called: set[str] = set()
        self._squares: dict[str, Tensor] = {}
        self._names = {id(weight): name for name, weight in weights.items()}
        self._granularity = granularity

    @property
    def reached(self) -> frozenset[str]:
        """The layers that the backward pass came to."""
        return frozenset(self._squares)

    def of_layers(self, names: Sequence[str]) -> Tensor:
        """Return float32 [N, n_weights]: the squares of these layers side by side.

        Raises:
            ExtractorError: If the backward pass did not reach one of them.
        """
        missing = [name for name in names if name not in self._squares]
        if missing:
            raise ExtractorError(f"no gradient reaches layer {missing[0]!r} of the network")
        return torch.cat([self._squares[name] for name in names], dim=1)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function, and remember what the backward pass will need."""
        del types
        output = func(*args, **(kwargs or {}))
        call = observe(func, args, kwargs or {})
        name = None if call is None else self._names.get(id(call.weight))
        return output if call is None or name is None else self._follow(name, call, output)

    def _follow(self, name: str, call: Call, output: Tensor) -> Tensor:
        if name in self._called:
            raise ExtractorError(
                f"the network uses the weights of {name} twice; their Fisher information is not supported"
            )
        self._called.add(name)
        if not output.requires_grad:
            # The copy may be changed in place, which a tensor that starts a graph may not.
            output = output.detach().requires_grad_().clone()
        kept, version = replace(call, inputs=call.inputs.detach()), call.inputs._version

        def square(gradient: Tensor) -> None:
            if kept.inputs._version != version:
                raise ExtractorError(f"the network changes the input of {name} in place")
            self._squares[name] = kept.squares(gradient, self._granularity)

        cast(Any, output).register_hook(square)
        return output
