"""Small tasks that a small network learns within seconds, and steps that train on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_source import ArraySource

from federation.transfer.recipe import Network, Recipe
from federation.transfer.step import TrainStep
from site_agent.training.networks import PretrainedWeights
from site_agent.training.run import TrainingRun

TINY = Network(name="test_resnet", image_size=32)


def striped_task(
    n: int = 240, n_classes: int = 3, *, splits: Sequence[str] | None = None, seed: int = 0
) -> ArraySource:
    """Stripes whose width is the class, under noise; two pictures of every patient."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % n_classes
    columns, phases = np.arange(32), random.uniform(0, 6, n)
    waves = np.sin((0.2 + 0.2 * labels)[:, None] * columns + phases[:, None])
    levels = 128 + 60 * waves[:, None, :, None] + random.normal(0, 30, (n, 32, 32, 3))
    patients = [f"patient {i // 2}" for i in range(n)]
    return ArraySource(np.clip(levels, 0, 255).astype(np.uint8), labels.tolist(), splits, patients)


def train_step(**changes: Any) -> TrainStep:
    """A step that trains ``striped_task`` in about two seconds."""
    recipe = {"epochs": 4, "draws": 96, "batch_size": 16, "learning_rate": 3e-3} | changes.pop("recipe", {})
    return TrainStep(
        **({"site": "a", "task": "stripes", "network": TINY, "recipe": Recipe(**recipe)} | changes)
    )


def open_run(source, step, folder, start=None, **changes: Any) -> TrainingRun:
    options = {
        "pretrained": PretrainedWeights(),
        "device": "cpu",
        "images": folder.parent / "images",
    } | changes
    return TrainingRun.open(source, step, start, folder, **options)


def same_arrays(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
