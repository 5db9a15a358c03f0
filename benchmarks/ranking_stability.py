"""How many images a fingerprint needs, fixed or adaptive, and which distances find a dataset's other half.

``python -m benchmarks.ranking_stability DIR [--cache FOLDER] [--json]`` reads a directory of tasks (one
folder with images.zip and labels.csv each, or .npz files) and extracts features once. Rankings from a sample
of every task are compared with those from all of its images: Kendall's tau and weighted tau per target, and
the share of targets whose nearest source, and whose set of three nearest sources, is the same. Tasks with
fewer images than a budget use all they have.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, weightedtau

from benchmarks.task_features import task_features
from federation import distances
from federation.sampling_config import DEFAULT_TOLERANCE
from federation.sketches import HistogramSketch
from federation.space import Edges, Space
from federation.stopping import CHECKPOINT, FIRST_CHECKPOINT, sampling_error

BUDGETS = (10, 20, 50, 100, 200, 384, 500, 1000, 2000, 5000, 10_000)
TOLERANCES = {  # of each rule, chosen so that they use about as many images
    "error": (0.03, 0.02, 0.015, 0.01, 0.007),
    "relative": (0.10, 0.07, 0.06, 0.04, 0.03),
    "halves": (0.30, 0.14, 0.08, 0.035, 0.017),
}
NAMES = ("cramer", "emd", "l2", "js", "bkld-small")


@dataclass(frozen=True)
class Result:
    """Agreement of rankings by one distance with those from all images, means over targets and draws."""

    plan: str
    n_mean: float
    n_min: int
    n_max: int
    distance: str
    kendall: float
    weighted: float
    top1: float
    top3: float


@dataclass(frozen=True)
class Prefix:
    """The first images of a random order, and every second of them."""

    whole: HistogramSketch
    odd: HistogramSketch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draws", type=int, default=5, help="random orders of the images")
    parser.add_argument("--images", type=int, default=max(BUDGETS), help="most images per task")
    parser.add_argument("--cache", type=Path, help="folder that keeps features between runs")
    arguments = parser.parse_args()
    cache = arguments.cache or Path(tempfile.mkdtemp(prefix="ranking-stability-"))
    space, features = task_features(arguments.directory, cache, arguments.images)
    tasks = list(features.values())
    results, retrieval = _results(tasks, space.edges, arguments.draws), _retrieval(tasks, space)
    used = {name: _used(x, space.edges) for name, x in features.items()}
    if arguments.json:
        rows = [asdict(row) for row in results]
        print(json.dumps({"results": rows, "retrieval": retrieval, "used": used}, indent=1))
        return
    _show(results, retrieval, len(tasks))
    print(f"\nimages used at the default tolerance {DEFAULT_TOLERANCE} (of), in one random order:")
    for name, n in sorted(used.items(), key=lambda item: item[1]):
        print(f"{name:20s} {n:5d} ({len(features[name])})")


def _show(results: Sequence[Result], retrieval: dict[str, int], n_tasks: int) -> None:
    print("plan             images (from-to)      distance    tau   w-tau  top-1  top-3")
    for row in results:
        print(
            f"{row.plan:15s} {row.n_mean:6.0f} ({row.n_min}-{row.n_max})".ljust(38)
            + f" {row.distance:10s} {row.kendall:.3f}  {row.weighted:.3f}  {row.top1:.3f}  {row.top3:.3f}"
        )
    print("\nhalves that find their other half first, among all other halves:")
    for name, found in retrieval.items():
        print(f"{name:18s} {found} of {2 * n_tasks}")


def _results(tasks: Sequence[np.ndarray], edges: Edges, n_draws: int) -> list[Result]:
    whole = [HistogramSketch.from_features(x, edges) for x in tasks]
    expected = {name: distances.get(name).matrix(whole, whole) for name in NAMES}
    plans: dict[str, list[list[HistogramSketch]]] = {}
    for seed in range(n_draws):
        orders = [x[np.random.default_rng(seed).permutation(len(x))] for x in tasks]
        for n in BUDGETS:
            sample = [HistogramSketch.from_features(x[:n], edges) for x in orders]
            plans.setdefault(f"n={n}", []).append(sample)
        prefixes = [_prefixes(x, edges) for x in orders]
        for rule, tolerances in TOLERANCES.items():
            for tolerance in tolerances:
                sample = [_stopped(p, RULES[rule], tolerance) for p in prefixes]
                plans.setdefault(f"{rule} {tolerance:g}", []).append(sample)
    return [_result(plan, name, draws, expected[name]) for plan, draws in plans.items() for name in NAMES]


def _used(x: np.ndarray, edges: Edges) -> int:
    """How many images the default rule draws."""
    order = x[np.random.default_rng(0).permutation(len(x))]
    return _stopped(_prefixes(order, edges), _error, DEFAULT_TOLERANCE).n


def _prefixes(x: np.ndarray, edges: Edges) -> list[Prefix]:
    """The first images at every checkpoint that a plan may stop at."""
    found, whole, odd = [], HistogramSketch.zero(edges), HistogramSketch.zero(edges)
    for start in range(0, len(x), CHECKPOINT):
        part = x[start : start + CHECKPOINT]
        whole, odd = whole.update(part), odd.update(part[::2])
        if whole.n >= FIRST_CHECKPOINT or whole.n == len(x):
            found.append(Prefix(whole, odd))
        if sampling_error(whole) < min(TOLERANCES["error"]) / 2:
            break
    return found


def _stopped(
    prefixes: Sequence[Prefix], rule: Callable[[Prefix], float], tolerance: float
) -> HistogramSketch:
    return next((p.whole for p in prefixes if rule(p) <= tolerance), prefixes[-1].whole)


def _error(prefix: Prefix) -> float:
    return sampling_error(prefix.whole)


def _relative(prefix: Prefix) -> float:
    """Standard error of the frequencies, relative to their own length."""
    h = prefix.whole.counts / prefix.whole.n
    return float(np.sqrt((h * (1 - h)).sum() / (prefix.whole.n - 1) / (h * h).sum()))


def _halves(prefix: Prefix) -> float:
    """Cramér distance of the two halves of the sample."""
    even = HistogramSketch(prefix.whole.counts - prefix.odd.counts)
    return float(distances.get("cramer").matrix([HistogramSketch(prefix.odd.counts)], [even])[0, 0])


RULES = {"error": _error, "relative": _relative, "halves": _halves}


def _result(plan: str, name: str, draws: list[list[HistogramSketch]], expected: np.ndarray) -> Result:
    distance = distances.get(name)
    scores = np.mean([_agreement(distance.matrix(s, s), expected) for s in draws], axis=0)
    n = np.array([[sketch.n for sketch in sample] for sample in draws])
    return Result(plan, float(n.mean()), int(n.min()), int(n.max()), name, *map(float, scores))


def _agreement(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Means over targets: tau, weighted tau (the nearest count most), same nearest, same nearest three."""
    rows = []
    for target in range(len(found)):
        others = np.arange(len(found)) != target
        a, b = found[others, target], expected[others, target]
        nearest, expected_nearest = np.argsort(a)[:3], np.argsort(b)[:3]
        rows.append(
            (
                kendalltau(a, b).statistic,
                weightedtau(-a, -b).statistic,
                nearest[0] == expected_nearest[0],
                set(nearest) == set(expected_nearest),
            )
        )
    return np.mean(rows, axis=0)


def _retrieval(tasks: Sequence[np.ndarray], space: Space) -> dict[str, int]:
    """Split every dataset in two: how many halves have their other half as the nearest source."""
    halves = [half[:500] for x in tasks for half in _two_halves(x)]
    sketches = [HistogramSketch.from_features(half, space.edges) for half in halves]
    found = {}
    for name in distances.names():
        if distances.get(name).needs != HistogramSketch.kind:
            continue
        values = distances.get(name).matrix(sketches, sketches)
        np.fill_diagonal(values, np.inf)
        found[name] = int((values.argmin(axis=0) == np.arange(len(halves)) ^ 1).sum())
    return found


def _two_halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shuffled = x[np.random.default_rng(0).permutation(len(x))]
    return shuffled[: len(x) // 2], shuffled[len(x) // 2 :]


if __name__ == "__main__":
    main()
