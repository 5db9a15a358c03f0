"""How many images a fingerprint needs, and which distances find a dataset's own other half.

``python -m benchmarks.ranking_stability DIR [--json]`` reads a directory of tasks (one folder with images.zip
and labels.csv each, or .npz files), extracts features once, and compares rankings from n images per task with
those from disjoint other images of the same tasks: the second half of every dataset is the reference.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.task_folders import task_sources
from federation import distances
from federation.sampling import SamplingPlan
from federation.sketches import HistogramSketch
from site_agent.extractors import load_extractor, packaged_efficientnet_lite0
from site_agent.loading import ImageStream
from site_agent.reference_corpus import DEFAULT_IMAGES
from site_agent.space_builder import SpaceRecipe, build_space

BUDGETS = (10, 30, 100, 200, 300, 500, 750, 1000)
NAMES = ("cramer", "emd", "js", "bkld-small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draws", type=int, default=5, help="random subsets per budget")
    arguments = parser.parse_args()
    edges, features = _features(arguments.directory)
    results = [row for n in BUDGETS for row in _stability(edges, features, n, arguments.draws)]
    retrieval = _retrieval(edges, features)
    if arguments.json:
        print(json.dumps({"results": results, "retrieval": retrieval}, indent=1))
        return
    print("n images  distance     tasks  Spearman  top-3 overlap")
    for row in results:
        print(
            f"{row['n']:8d}  {row['distance']:11s}  {row['tasks']:5d}  {row['spearman']:8.3f}"
            f"  {row['top3']:13.3f}"
        )
    print("\nhalves that find their other half first, among all other halves:")
    for name, found in retrieval.items():
        print(f"{name:18s} {found} of {2 * len(features)}")


def _retrieval(edges: np.ndarray, features: dict[str, np.ndarray]) -> dict[str, int]:
    """Split every dataset in two: how many halves have their other half as the nearest source."""
    halves = [half[:500] for x in features.values() for half in _halves(x)]
    sketches = [HistogramSketch.from_features(half, edges) for half in halves]
    found = {}
    for name in distances.names():
        if distances.get(name).needs != "histogram":
            continue
        values = distances.get(name).matrix(sketches, sketches)
        np.fill_diagonal(values, np.inf)
        found[name] = int((values.argmin(axis=0) == np.arange(len(halves)) ^ 1).sum())
    return found


def _features(root: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    extractor = load_extractor(packaged_efficientnet_lite0())
    recipe = SpaceRecipe("budget", 100, "equal-width", DEFAULT_IMAGES)
    space = build_space(recipe, extractor, lambda *_: None)
    found = {}
    for name, source in task_sources(root):
        plan = SamplingPlan(2 * max(BUDGETS), seed=1)
        stream = ImageStream(source, space.extractor.transform, plan, batch_size=extractor.batch_size)
        found[name] = np.concatenate([extractor(batch.images) for batch in stream])
        print(f"{name}: {len(found[name])} images", file=sys.stderr, flush=True)
    return space.edges, found


def _stability(edges, features, n: int, draws: int) -> list[dict[str, object]]:
    halves = {name: _halves(x) for name, x in features.items() if len(x) >= 2 * n}
    if len(halves) < 5:
        return []
    reference = [HistogramSketch.from_features(second, edges) for _, second in halves.values()]
    scores = {name: [] for name in NAMES}
    for draw in range(draws):
        random = np.random.default_rng(draw)
        sample = [
            HistogramSketch.from_features(first[random.permutation(len(first))[:n]], edges)
            for first, _ in halves.values()
        ]
        for name in NAMES:
            distance = distances.get(name)
            scores[name].append(
                _agreement(distance.matrix(sample, sample), distance.matrix(reference, reference))
            )
    means = {name: np.mean(rows, axis=0) for name, rows in scores.items()}
    return [
        {"n": n, "distance": name, "tasks": len(halves), "spearman": float(m[0]), "top3": float(m[1])}
        for name, m in means.items()
    ]


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shuffled = x[np.random.default_rng(0).permutation(len(x))]
    return shuffled[: len(x) // 2], shuffled[len(x) // 2 :]


def _agreement(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Mean over targets of Spearman's rho and of the overlap of the three nearest sources."""
    rho, overlap = [], []
    for target in range(len(found)):
        others = np.arange(len(found)) != target
        a, b = found[others, target], expected[others, target]
        rho.append(spearmanr(a, b).statistic)
        overlap.append(len(set(np.argsort(a)[:3]) & set(np.argsort(b)[:3])) / 3)
    return float(np.mean(rho)), float(np.mean(overlap))


if __name__ == "__main__":
    main()
