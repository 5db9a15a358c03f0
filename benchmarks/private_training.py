"""What training with noise costs in accuracy at a given ε, by how its price is accounted for.

``python -m benchmarks.private_training DIR [--json]`` reads a directory of tasks (one folder with images.zip
and labels.csv each, or .npz files), takes features of a frozen EfficientNet-Lite0 once, and trains a linear
head on half of each task at equal (ε, δ), unit one image: as sites do, over a partition of the patients in
few or many batches, and with the Poisson-sampled batches of Opacus, whose RDP accountant claims
amplification. All share clip norm, rate and the number of epochs, those of ``benchmarks.private_head``.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.private_head import (
    BATCH_RATE,
    CLIP,
    DELTA,
    EPOCHS,
    EPS,
    Split,
    opacus_poisson,
    public_scale,
    splits,
    unprotected,
)
from federation.privacy.accounting import rho_for
from federation.privacy.training import noise_multiplier_for
from federation.transfer.recipe import PrivateTraining, Recipe
from site_agent.data.source import ImageSource, Listing
from site_agent.training.epoch import Epoch, Examples, Indices
from site_agent.training.private import train_private_epoch

CPU = torch.device("cpu")
Method = Callable[[Split, float, int], float]


class Features(Examples):
    """Standardised features, every image a patient of its own."""

    def __init__(self, split: Split) -> None:
        names = [f"image {number}" for number in range(len(split.y))]
        classes = [str(label) for label in range(split.n_classes)]
        listing = Listing.of(names, names, [classes[y] for y in split.y], class_names=classes)
        super().__init__(_Unseen(Path("features"), listing, {}))
        self._rows = torch.from_numpy(split.scale.standardised(split.x).astype(np.float32))

    def inputs(self, positions: Indices, chance: torch.Generator | None) -> torch.Tensor:
        """Return float32 [B, n_features]."""
        del chance
        return self._rows[positions]


class _Unseen(ImageSource):
    def load(self, index: int, *, min_side: int | None = None) -> Image.Image:
        raise NotImplementedError(index, min_side)


def partition(split: Split, eps: float, seed: int, *, n_batches: int) -> float:
    """Return the balanced accuracy of a head trained as sites do."""
    network = torch.nn.Linear(split.x.shape[1], split.n_classes, bias=False)
    torch.nn.init.zeros_(network.weight)
    size = max(2, round(len(split.y) / n_batches))
    private = PrivateTraining(
        noise_multiplier=noise_multiplier_for(rho_for(eps, DELTA), EPOCHS), clip_norm=CLIP
    )
    recipe = Recipe(
        epochs=EPOCHS,
        draws=size * n_batches,
        batch_size=size,
        learning_rate=BATCH_RATE,
        schedule="constant",
        private=private,
    )
    examples, optimizer = Features(split), torch.optim.SGD(network.parameters(), lr=BATCH_RATE)
    for number in range(EPOCHS):
        train_private_epoch(Epoch(number, EPOCHS, seed, recipe, network, optimizer, examples, CPU))
    x = torch.from_numpy(split.scale.standardised(split.held_x).astype(np.float32))
    with torch.no_grad():
        return split.accuracy(network(x).numpy())


METHODS: dict[str, Method] = {
    "partition, 1 batch an epoch": partial(partition, n_batches=1),
    "partition, 4 batches": partial(partition, n_batches=4),
    "partition, 16 batches": partial(partition, n_batches=16),
    "Opacus, Poisson batches": opacus_poisson,
    "no protection": unprotected,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("benchmark-features"))
    parser.add_argument("--draws", type=int, default=3, help="noise draws per task")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", module="opacus|torch")
    tasks = splits(arguments.directory, arguments.cache, public_scale(arguments.cache))
    results = [
        {"method": name, "eps": eps, "task": task, "n": len(split.y), "classes": split.n_classes,
         "balanced_accuracy": float(np.median([method(split, eps, s) for s in range(arguments.draws)]))}
        for name, method in METHODS.items() for eps in EPS for task, split in tasks.items()
    ]  # fmt: skip
    if arguments.json:
        print(json.dumps({"delta": DELTA, "epochs": EPOCHS, "results": results}, indent=1))
        return
    print(f"{len(tasks)} tasks, δ = {DELTA:g}; mean over tasks of the balanced accuracy on held-out images")
    for name in METHODS:
        means = (
            np.mean([r["balanced_accuracy"] for r in results if (r["method"], r["eps"]) == (name, eps)])
            for eps in EPS
        )
        print(f"{name:28s}", *(f"ε={eps:g}: {mean:.3f}" for eps, mean in zip(EPS, means, strict=True)))


if __name__ == "__main__":
    main()
