"""How many random Fourier features bring mean embeddings to the exact discrepancy of the samples.

``python -m benchmarks.mean_embedding DIR [--json]`` reads a directory of tasks (one folder with images.zip
and labels.csv each, or .npz files), extracts features once, and compares ``mmd-unbiased`` of mean embeddings
with the exact unbiased estimate over all pairs of tasks. The yardstick is by how much the exact estimate
itself changes when every task is represented by other images.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.task_folders import task_sources
from federation import distances
from federation.distances.kernel_exact import exact_mmd
from federation.kernels import KERNELS, Kernel
from federation.sampling import SamplingPlan
from federation.sketches import MeanEmbeddingSketch
from federation.sketches.random_features import RandomFeatures
from site_agent.extractors import load_extractor, packaged_efficientnet_lite0
from site_agent.loading import ImageStream
from site_agent.reference_corpus import DEFAULT_IMAGES
from site_agent.space_builder import SpaceRecipe, build_space

N_RANDOM = (64, 256, 1024, 2048, 4096, 8192, 16384)
Features = dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--images", type=int, default=300, help="images per task and sample; twice as many are read"
    )
    parser.add_argument("--draws", type=int, default=5, help="seeds of the random features")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    bandwidth, features = _features(arguments.directory, 2 * arguments.images)
    results = [
        row for kernel in KERNELS for row in _convergence(kernel, bandwidth, features, arguments.draws)
    ]
    if arguments.json:
        print(json.dumps({"bandwidth": bandwidth, "tasks": len(features), "results": results}, indent=1))
        return
    print(f"{len(features)} tasks, bandwidth {bandwidth:g}; medians and 95 % quantiles over pairs")
    print("kernel    estimate            relative error      Spearman  nearest")
    for row in results:
        print(
            f"{row['kernel']:8s}  {row['estimate']:18s}  {row['median_error']:6.1%} {row['q95_error']:10.1%}"
            f"  {row['spearman']:8.3f}  {row['nearest']:7.1%}"
        )


def _features(root: Path, n_images: int) -> tuple[float, Features]:
    """Return the bandwidth of the public rule and the features of every task."""
    extractor = load_extractor(packaged_efficientnet_lite0())
    kinds = ("histogram", MeanEmbeddingSketch.kind)
    recipe = SpaceRecipe("kernel", 100, "equal-width", DEFAULT_IMAGES, kinds)
    space = build_space(recipe, extractor, lambda *_: None)
    found = {}
    for name, source in task_sources(root):
        plan = SamplingPlan(n_images, seed=1)
        stream = ImageStream(source, space.extractor.transform, plan, batch_size=extractor.batch_size)
        found[name] = np.concatenate([extractor(batch.images) for batch in stream])
        print(f"{name}: {len(found[name])} images", file=sys.stderr, flush=True)
    return float(space.sketches[MeanEmbeddingSketch.kind]["bandwidth"]), found


def _convergence(kernel: Kernel, bandwidth: float, features: Features, draws: int) -> list[dict[str, object]]:
    sample = [x[::2] for x in features.values()]
    exact = _exact(sample, kernel, bandwidth)
    redrawn = _exact([x[1::2] for x in features.values()], kernel, bandwidth)
    embedded = [
        _embed(sample, RandomFeatures(sample[0].shape[1], kernel, bandwidth, N_RANDOM[-1], s))
        for s in range(draws)
    ]
    rows = []
    for n_random in N_RANDOM:
        found = [_mmd([_first(sketch, n_random) for sketch in sketches]) for sketches in embedded]
        rows.append(_compare(kernel, f"{n_random} features", found, exact))
    return [*rows, _compare(kernel, "exact, other images", [redrawn], exact)]


def _exact(samples: list[np.ndarray], kernel: Kernel, bandwidth: float) -> np.ndarray:
    values = np.zeros((len(samples), len(samples)))
    for i, x in enumerate(samples):
        for j, y in enumerate(samples[:i]):
            values[i, j] = values[j, i] = exact_mmd(x, y, kernel, bandwidth)
    return values


def _embed(samples: list[np.ndarray], random_features: RandomFeatures) -> list[MeanEmbeddingSketch]:
    zero = MeanEmbeddingSketch.zero(random_features)
    return [zero.update(x) for x in samples]


def _first(sketch: MeanEmbeddingSketch, n_random: int) -> MeanEmbeddingSketch:
    """The sketch with fewer random features: their frequencies are the first of more."""
    return MeanEmbeddingSketch(sketch.sums.reshape(2, -1)[:, : n_random // 2].ravel(), sketch.n)


def _mmd(sketches: list[MeanEmbeddingSketch]) -> np.ndarray:
    return distances.get("mmd-unbiased").matrix(sketches, sketches)


def _compare(kernel: str, estimate: str, found: list[np.ndarray], exact: np.ndarray) -> dict[str, object]:
    pairs = np.triu_indices(len(exact), 1)
    errors = np.array([np.abs(values[pairs] - exact[pairs]) / exact[pairs] for values in found])
    agreement = np.mean([_agreement(values, exact) for values in found], axis=0)
    return {
        "kernel": kernel,
        "estimate": estimate,
        "median_error": float(np.median(errors)),
        "q95_error": float(np.quantile(errors, 0.95)),
        "spearman": float(agreement[0]),
        "nearest": float(agreement[1]),
    }


def _agreement(found: np.ndarray, exact: np.ndarray) -> tuple[float, float]:
    """Mean over targets of Spearman's rho, and share of targets with the same nearest source."""
    rho, same = [], []
    for target in range(len(exact)):
        others = np.arange(len(exact)) != target
        a, b = found[others, target], exact[others, target]
        rho.append(spearmanr(a, b).statistic)
        same.append(a.argmin() == b.argmin())
    return float(np.mean(rho)), float(np.mean(same))


if __name__ == "__main__":
    main()
