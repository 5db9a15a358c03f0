"""Small tasks, networks and epochs for tests of training with noise."""

from dataclasses import replace

import numpy as np
import timm
import torch
from memory_source import MemorySource
from timm.layers import freeze_batch_norm_2d
from torch import nn

from federation.transfer.recipe import PrivateTraining, Recipe
from site_agent.training.epoch import Epoch, Examples

CPU = torch.device("cpu")


def source_of(images_of):
    """A source in which each patient has some images, ``{"p1": 2, ...}``; an empty name is nobody known."""
    named = [(f"{patient or 'nobody'}-{n}", patient) for patient, k in images_of.items() for n in range(k)]
    names, patients = [name for name, _ in named], [patient for _, patient in named]
    return MemorySource(names, [(0, 0, 0)] * len(names), patients)


class Vectors(Examples):
    """Examples whose inputs come from their names alone."""

    def __init__(self, source, shape=(6,), scale=1.0):
        super().__init__(source)
        self.shape, self.scale = shape, scale

    def inputs(self, positions, chance):
        rows = [self._row(self.source.name(int(position))) for position in positions]
        x = torch.stack(rows)
        return x if chance is None else x + 0.01 * torch.randn(x.shape, generator=chance)

    def _row(self, name):
        random = np.random.default_rng(int.from_bytes(name.encode(), "big"))
        return torch.from_numpy(self.scale * random.normal(size=self.shape)).float()


def small_head(n_features=6, n_classes=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n_features, 5), nn.Tanh(), nn.Linear(5, n_classes))


def small_resnet(name="test_resnet"):
    torch.manual_seed(0)
    return freeze_batch_norm_2d(timm.create_model(name, num_classes=2))


def private_recipe(**changes):
    private = {"noise_multiplier": 1.0, "clip_norm": 0.5, "images_per_patient": 2}
    private |= {key: changes.pop(key) for key in list(changes) if key in private}
    return Recipe(**({"draws": 12, "batch_size": 4, "private": PrivateTraining(**private)} | changes))


def make_epoch(examples, network, recipe=None, **changes):
    recipe = recipe or private_recipe()
    optimizer = changes.pop("optimizer", None) or torch.optim.SGD(network.parameters(), lr=0.0)
    return replace(Epoch(0, recipe.epochs, 0, recipe, network, optimizer, examples, CPU), **changes)
