"""How a frozen network is executed: the fastest way that is honest about its arithmetic.

========  ===========================================================================================
``off``   The library's own forward pass in float32, images in channels-last order.
``fold``  The folded network (`site_agent.network.folding`) in float32: several times faster, features
          equal to about 1e-5, ranking of neighbours unchanged. CPU only; on CUDA it is ``off``.
``bf16``  The folded network in bfloat16, where the processor has instructions for it: faster again,
          but features of real images move by 7 % (EfficientNet-Lite0) to 16 % (MobileNetV2) in the
          median, and one nearest neighbour in eight changes. On CUDA: automatic mixed precision.
``auto``  ``fold`` on a CPU, ``off`` on CUDA: always float32, so that features agree between
          machines, and never depending on how much work there is.
========  ===========================================================================================

A way that fails, or whose features differ from the library's on a probe, gives place to the next slower one
with a warning; a network is never refused because it could not be made faster.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from site_agent.network.folding import fold
from site_agent.network.mode import Acceleration

log = logging.getLogger("fedprint.site")

Network = Callable[[torch.Tensor], torch.Tensor]

# Largest relative error of any probe image's features against the library's own.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.25}


@dataclass(frozen=True)
class Forward:
    """A network ready to run.

    Args:
        run: float32 [N, 3, S, S], channels last, to float32 [N, n_features].
        arithmetic: How it is executed, for provenance.
    """

    run: Network
    arithmetic: str


def accelerate(network: nn.Module, probe: torch.Tensor, mode: Acceleration) -> Forward:
    """Choose how to execute a network.

    Args:
        network: Frozen, in evaluation mode, float32, on the device of ``probe``.
        probe: float32 [N, 3, S, S], channels last: a batch of the only shape that will ever be asked for.
        mode: See the module.

    Returns:
        The first way of the mode that works on the probe.
    """
    if probe.device.type == "cuda":
        return _on_cuda(network, mixed=mode == "bf16")
    eager = Forward(network, "float32 eager cpu")
    if mode == "off":
        return eager
    if mode == "bf16" and not has_bf16():
        log.warning("this processor has no bfloat16 instructions; float32 is used")
    dtypes = [torch.bfloat16, torch.float32] if mode == "bf16" and has_bf16() else [torch.float32]
    with torch.inference_mode():
        expected = network(probe)
    for dtype in dtypes:
        folded = _folded(network, probe, dtype, expected)
        if folded is not None:
            return folded
    return eager


def relative_error(features: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Return the norm of the difference over the norm expected, per image.

    Args:
        features: float [N, n_features].
        expected: float [N, n_features].

    Returns:
        float32 [N].
    """
    difference, size = (torch.linalg.vector_norm(x.float(), dim=1) for x in (features - expected, expected))
    error: torch.Tensor = difference / size.clamp_min(torch.finfo(torch.float32).tiny)
    return error


def _folded(
    network: nn.Module, probe: torch.Tensor, dtype: torch.dtype, expected: torch.Tensor
) -> Forward | None:
    name = str(dtype).removeprefix("torch.")
    try:
        run = _in_type(fold(network, probe, dtype), dtype)
        with torch.inference_mode():
            error = float(relative_error(run(probe), expected).max())
    # A network may hold anything, and no failure to speed it up is worth losing the run.
    except Exception as failure:  # noqa: BLE001
        log.warning("the network cannot be folded in %s and runs slower: %s", name, failure)
        return None
    # Written so that a NaN fails.
    if not error <= _TOLERANCE[dtype]:
        log.warning("the network folded in %s is off by %.2g and is not used; it runs slower", name, error)
        return None
    return Forward(run, f"{name} folded cpu")


def _in_type(network: Network, dtype: torch.dtype) -> Network:
    if dtype == torch.float32:
        return network
    return lambda images: network(images.to(dtype)).float()


def has_bf16() -> bool:
    """Return whether this processor has instructions for bfloat16."""
    # Older releases cannot say; they are taken to lack it.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _on_cuda(network: nn.Module, *, mixed: bool) -> Forward:
    network.to(memory_format=torch.channels_last)

    def run(images: torch.Tensor) -> torch.Tensor:
        with contextlib.ExitStack() as settings:
            # TensorFloat-32 keeps 10 bits; benchmarking picks algorithms by chance.
            settings.enter_context(
                torch.backends.cudnn.flags(
                    enabled=True, benchmark=False, deterministic=True, allow_tf32=False
                )
            )
            if mixed:
                settings.enter_context(torch.autocast("cuda", torch.bfloat16))
            features: torch.Tensor = network(images).float()
            return features

    return Forward(run, "bfloat16 mixed cuda" if mixed else "float32 eager cuda")
