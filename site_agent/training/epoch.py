"""What one epoch of training gets to work with, whoever trains it: plainly or with noise."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from federation.transfer.recipe import Recipe
from site_agent.data import ImageSource
from site_agent.training.schedule import learning_rate

Indices = npt.NDArray[np.int64]


class Examples(ABC):
    """Labelled training examples, ready for the network batch by batch.

    Attributes:
        source: The images, one per example, with their patients and names; they never leave.
        labels: int64 [n].
        n_classes: Number of classes of the task, whether they occur or not.
    """

    def __init__(self, source: ImageSource) -> None:
        self.source = source
        self.labels = source.labels
        self.n_classes = len(source.class_names)

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def inputs(self, positions: Indices, chance: torch.Generator | None) -> torch.Tensor:
        """Return what the network takes, on its device.

        Args:
            positions: int64 [B], which examples; repeats are allowed.
            chance: Where augmentation draws from; None: no augmentation.

        Returns:
            float32 [B, 3, S, S], normalised, in channels-last memory order; or float32 [B, n_features]
            where only a head is trained.
        """

    def targets(self, positions: Indices, device: torch.device) -> torch.Tensor:
        """Return the labels int64 [B] of examples on a device."""
        return torch.from_numpy(self.labels[positions]).to(device, non_blocking=True)


@dataclass(frozen=True, eq=False)
class Epoch:
    """One epoch to train.

    Args:
        number: Which one, from 0; of all rounds where there are several.
        total: How many there are.
        seed: Repetition; names the streams of chance together with the number. Never a source of noise
            that protects anybody: it is known to others.
        recipe: How to train.
        network: Inputs to logits float32 [B, n_classes], on ``device``.
        optimizer: Of the network's parameters that are trained.
        examples: What to train on.
        device: Where.
    """

    number: int
    total: int
    seed: int
    recipe: Recipe
    network: nn.Module
    optimizer: torch.optim.Optimizer
    examples: Examples
    device: torch.device

    def set_rate(self, batch: int, n_batches: int) -> None:
        """Set the learning rate for one of the epoch's batches, counted from 0."""
        rate = learning_rate(self.recipe, self.number + batch / n_batches, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate


TrainEpoch: TypeAlias = Callable[[Epoch], float | None]
"""Trains the network in place; returns the mean loss of its images, None where nobody may know it."""
