"""How well a linear head on frozen features classifies when its fit protects every image, by method.

``python -m benchmarks.private_head DIR [--json]`` reads a directory of tasks (one folder with images.zip and
labels.csv each, or .npz files), extracts features once, and compares at equal (ε, δ), unit one image: full
batches with exact integer noise as sites use them, full batches and Poisson-sampled batches of Opacus, and a
fit that protects nobody. Steps and rates of each are those that were best on these very tasks.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from opacus import GradSampleModule, PrivacyEngine
from opacus.optimizers import DPOptimizer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.task_features import task_features
from benchmarks.task_folders import task_sources
from federation.privacy.accounting import rho_for
from federation.sampling import SamplingPlan
from site_agent import reference_corpus
from site_agent.extractors import load_extractor, packaged_efficientnet_lite0
from site_agent.fisher.head import LinearHead
from site_agent.fisher.private_head import Examples, PublicScale, fit_private_head
from site_agent.loading import drawn_indices

EPS = (1.0, 4.0, 8.0)
DELTA = 1e-6
N_IMAGES = 2000
FULL_STEPS, FULL_RATE, CLIP = 32, 8.0, 1.0
EPOCHS, RATE_OF_DRAWS, BATCH_RATE = 20, 0.25, 4.0
FEWEST = 200  # images of a task, fitted and held out together


@dataclass(frozen=True)
class Split:
    """Images of a task to fit to, and others to count mistakes on.

    Args:
        x: float32 [n, n_features] to fit to.
        y: int64 [n], 0 to n_classes − 1.
        held_x: float32 [n_held, n_features].
        held_y: int64 [n_held].
        n_classes: Number of classes of the listing.
        scale: Of public images.
    """

    x: np.ndarray
    y: np.ndarray
    held_x: np.ndarray
    held_y: np.ndarray
    n_classes: int
    scale: PublicScale

    def accuracy(self, scores: np.ndarray) -> float:
        """Return the mean recall over classes of float [n_held, n_classes]."""
        right = scores.argmax(axis=1) == self.held_y
        return float(np.mean([right[self.held_y == c].mean() for c in np.unique(self.held_y)]))


Method = Callable[[Split, float, int], float]
"""Returns the balanced accuracy on held-out images at ε, for one seed."""


def integer_noise(split: Split, eps: float, seed: int) -> float:
    del seed
    examples = Examples(split.x, split.y, np.ones(len(split.y), np.int64), split.n_classes)
    found = fit_private_head(examples, split.scale, rho_for(eps, DELTA))
    return split.accuracy(found.head.log_probabilities(split.held_x))


def opacus_full_batch(split: Split, eps: float, seed: int) -> float:
    torch.manual_seed(seed)
    x, y = _tensors(split)
    model = GradSampleModule(_linear(split), strict=False)
    plain = torch.optim.SGD(model.parameters(), lr=FULL_RATE)
    multiplier = float(np.sqrt(FULL_STEPS / (2 * float(rho_for(eps, DELTA)))))
    optimizer = DPOptimizer(
        plain, noise_multiplier=multiplier, max_grad_norm=CLIP, expected_batch_size=len(x)
    )
    for _ in range(FULL_STEPS):
        _step(model, optimizer, x, y)
    return _held_out(split, model)


def opacus_poisson(split: Split, eps: float, seed: int) -> float:
    torch.manual_seed(seed)
    model = _linear(split)
    loader = DataLoader(TensorDataset(*_tensors(split)), batch_size=round(RATE_OF_DRAWS * len(split.y)))
    model, optimizer, loader = PrivacyEngine(accountant="rdp").make_private_with_epsilon(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=BATCH_RATE),
        data_loader=loader,
        target_epsilon=eps,
        target_delta=DELTA,
        epochs=EPOCHS,
        max_grad_norm=CLIP,
    )
    for _ in range(EPOCHS):
        for x, y in loader:
            _step(model, optimizer, x, y)
    return _held_out(split, model)


def unprotected(split: Split, eps: float, seed: int) -> float:
    del eps, seed
    return split.accuracy(LinearHead.fit(split.x, split.y, 0.1).log_probabilities(split.held_x))


METHODS: dict[str, Method] = {
    "integer noise, full batch": integer_noise,
    "Opacus, full batch": opacus_full_batch,
    "Opacus, Poisson batches": opacus_poisson,
    "no protection": unprotected,
}


def _tensors(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    x = split.scale.standardised(split.x).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(split.y)


def _linear(split: Split) -> nn.Linear:
    model = nn.Linear(split.x.shape[1], split.n_classes, bias=False)
    nn.init.zeros_(model.weight)
    return model


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def _held_out(split: Split, model: nn.Module) -> float:
    x = torch.from_numpy(split.scale.standardised(split.held_x).astype(np.float32))
    with torch.no_grad():
        return split.accuracy(model(x).numpy())


def splits(root: Path, cache: Path, scale: PublicScale) -> dict[str, Split]:
    """Return every task with one half to fit to and one held out."""
    _, features = task_features(root, cache, N_IMAGES)
    found = {}
    for name, source in task_sources(root):
        drawn = source.labels[drawn_indices(SamplingPlan(N_IMAGES, seed=1), len(source))]
        if len(drawn) != len(features[name]) or len(drawn) < FEWEST:
            continue  # with unreadable images, labels and features would not belong together
        classes, y = np.unique(drawn, return_inverse=True)
        order = np.random.default_rng(0).permutation(len(y))
        fitted, held = order[: len(y) // 2], order[len(y) // 2 :]
        x = np.asarray(features[name])
        found[name] = Split(x[fitted], y[fitted], x[held], y[held], len(classes), scale)
    return found


def public_scale(cache: Path) -> PublicScale:
    """Return the mean of public images' features, and their median distance from it."""
    path = cache / "reference-480.npy"
    if not path.exists():
        extractor = load_extractor(packaged_efficientnet_lite0())
        images = np.stack(
            list(reference_corpus.reference_images(480, extractor.identity.transform.image_size))
        )
        batches = torch.split(torch.from_numpy(images).permute(0, 3, 1, 2), extractor.batch_size)
        np.save(path, np.concatenate([extractor(batch) for batch in batches]))
    reference = np.load(path).astype(np.float64)
    centre = reference.mean(axis=0)
    return PublicScale(centre, float(np.median(np.linalg.norm(reference - centre, axis=1))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("benchmark-features"))
    parser.add_argument("--draws", type=int, default=3, help="noise draws per task")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="opacus|torch")
    tasks = splits(arguments.directory, arguments.cache, public_scale(arguments.cache))
    results = [
        {"method": name, "eps": eps, "task": task, "n": len(split.y), "classes": split.n_classes,
         "balanced_accuracy": float(np.median([method(split, eps, s) for s in range(arguments.draws)]))}
        for name, method in METHODS.items() for eps in EPS for task, split in tasks.items()
    ]  # fmt: skip
    if arguments.json:
        print(json.dumps({"delta": DELTA, "results": results}, indent=1))
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
