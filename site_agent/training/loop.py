"""Training and running a network on batches."""

import contextlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from federation.errors import TrainingError
from federation.transfer.recipe import Recipe
from site_agent.network.acceleration import has_bf16
from site_agent.training.batches import epoch_batches
from site_agent.training.chance import torch_chance
from site_agent.training.epoch import Epoch, Examples, Indices

_MEASURED_AT_ONCE = 64


def new_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019) over what is trained; only matrices and filters decay."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], recipe.learning_rate, fused=True)


def train_epoch(epoch: Epoch) -> float:
    """Train one epoch; returns the mean loss of its images.

    Raises:
        TrainingError: If the loss is not finite.
    """
    chance = torch_chance(epoch.seed, "augmentation", epoch.number)
    batches = epoch_batches(epoch.examples.labels, epoch.recipe, epoch.seed, epoch.number)
    total = torch.zeros((), dtype=torch.float64, device=epoch.device)
    for number, positions in enumerate(batches):
        epoch.set_rate(number, len(batches))
        total += len(positions) * _train_batch(epoch, positions, chance).double()
    loss = float(total) / sum(map(len, batches))
    if not math.isfinite(loss):
        raise TrainingError(
            f"training diverged: the loss of epoch {epoch.number + 1} is {loss}",
            remedy=f"use a smaller learning rate than {epoch.recipe.learning_rate:g}",
        )
    return loss


def logits_of(network: nn.Module, examples: Examples) -> npt.NDArray[np.float32]:
    """Return what a network in evaluation mode gives for all examples, in float32 [n, n_classes]."""
    was_training = network.training
    network.eval()
    parts = np.array_split(np.arange(len(examples)), max(1, -(-len(examples) // _MEASURED_AT_ONCE)))
    with torch.inference_mode():
        found = [network(examples.inputs(part, None)).float().cpu() for part in parts]
    network.train(was_training)
    logits: npt.NDArray[np.float32] = torch.cat(found).numpy()
    return logits


@contextmanager
def same_arithmetic(device: torch.device) -> Iterator[None]:
    """Keep CUDA to algorithms that give the same numbers every time."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def _train_batch(epoch: Epoch, positions: Indices, chance: torch.Generator) -> torch.Tensor:
    inputs = epoch.examples.inputs(positions, chance)
    targets = epoch.examples.targets(positions, epoch.device)
    with _precision(epoch.recipe, epoch.device):
        logits = epoch.network(inputs)
    loss = nn.functional.cross_entropy(logits.float(), targets)
    epoch.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    epoch.optimizer.step()
    return loss.detach()


def _precision(recipe: Recipe, device: torch.device) -> contextlib.AbstractContextManager[object]:
    if recipe.precision == "mixed" and (device.type == "cuda" or has_bf16()):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
