"""A network whose filters carry Gaussian noise, sampled at the outputs (Kingma et al. 2015).

Noise of variance σ² on all weights of a filter moves its output by a Gaussian of variance σ² Σ x² over the
inputs that the filter sees; drawing that instead of weights gives every image and position its own noise.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from site_agent.fisher.calls import LinearCall, observe


class WeightNoise(TorchFunctionMode):
    """While active, outputs of chosen layers are noisy.

    Args:
        weights: The weights by name of their layer.
        log_variances: float32 [n_filters] by name of the layer.
        random: Source of the noise.
    """

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        log_variances: Mapping[str, Tensor],
        random: torch.Generator,
    ) -> None:
        super().__init__()
        self._log_variances = {id(weight): log_variances[name] for name, weight in weights.items()}
        self._random = random

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function and add noise where it uses a chosen weight."""
        del types
        output = func(*args, **(kwargs or {}))
        call = observe(func, args, kwargs or {})
        if call is None or id(call.weight) not in self._log_variances:
            return output
        deviation = torch.exp(0.5 * self._log_variances[id(call.weight)])
        if not isinstance(call, LinearCall):
            deviation = deviation.view(-1, *(1,) * (output.ndim - 2))
        with torch.no_grad():
            noise = torch.randn(output.shape, generator=self._random, device=output.device)
            noise *= torch.sqrt(call.energy())
        return output + deviation * noise
