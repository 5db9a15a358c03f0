"""How well noisy fingerprints rank sources: number of images × ε × space × distance.

``python -m benchmarks.private_ranking DIR [--json] [--cache FOLDER] [--draws 16]`` reads a directory of tasks
(one folder with images.zip and labels.csv each, or .npz files), extracts features once, and releases random
samples of every task with patient-level noise (each image a patient of its own, δ = 1e-6), sources and
targets alike. Every target's ranking of sources is compared with that by noise-free Cramér distances of all
images over 100 equal-width bins: Spearman's rank correlation, and the share of the three nearest sources that
are the same, means over targets and medians over draws of images and noise. A task with fewer images than
a sample is drawn from with replacement; ``repeated`` says how many tasks are. A release whose noise leaves no
image to compare ranks nothing and counts as 0.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.private_spaces import Candidate, candidates, image_sums
from benchmarks.ranking_agreement import agreement
from benchmarks.task_features import reference, task_features
from federation import distances
from federation.errors import FingerprintError
from federation.privacy.accounting import rho_for
from federation.privacy.mechanism import add_noise
from federation.sketches import HistogramSketch, Sketch
from site_agent.extractors import load_extractor, packaged_efficientnet_lite0

SIZES = (100, 300, 1000, 2000)
EPS = (0.25, 0.5, 1.0, 2.0, 4.0)
DELTA = 1e-6


@dataclass(frozen=True)
class Result:
    """Agreement with the noise-free ranking, medians over draws."""

    n: int
    eps: float
    distance: str
    space: str
    spearman: float
    top3: float
    draws: int
    tasks: int
    repeated: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draws", type=int, default=16, help="random images and noise, so many times")
    parser.add_argument("--images", type=int, default=max(SIZES), help="most images per task")
    parser.add_argument("--cache", type=Path, help="folder that keeps features between runs")
    arguments = parser.parse_args()
    cache = arguments.cache or Path(tempfile.mkdtemp(prefix="private-ranking-"))
    space, features = task_features(arguments.directory, cache, arguments.images)
    tasks = [np.asarray(x) for x in features.values()]
    if len(tasks) < 3:
        sys.exit(f"{arguments.directory} holds {len(tasks)} tasks: there is no ranking of fewer than 3")
    public = reference(cache, load_extractor(packaged_efficientnet_lite0()))
    whole = [HistogramSketch.from_features(x, space.edges) for x in tasks]
    expected = distances.get("cramer").matrix(whole, whole)
    results = []
    for candidate in candidates(space, public):
        results += _results(candidate, tasks, expected, arguments.draws)
        print(f"{candidate.name}: done", file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps({"results": [asdict(row) for row in results]}, indent=1))
        return
    print("    n    eps  distance    space" + " " * 37 + "Spearman  top-3")
    for row in results:
        score = f"{row.spearman:.3f}     {row.top3:.3f}"
        print(f"{row.n:5d}  {row.eps:5g}  {row.distance:10s}  {row.space:40s}  {score}")


def samples(n_images: int, task: int, n_draws: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield sample size and int64 [n]: which images of a task each draw takes, the same in every space."""
    for draw in range(n_draws):
        for n in SIZES:
            random = np.random.default_rng((draw, n, task))
            yield n, random.permutation(n_images)[:n] if n <= n_images else random.integers(0, n_images, n)


def _results(
    candidate: Candidate, tasks: Sequence[np.ndarray], expected: np.ndarray, n_draws: int
) -> list[Result]:
    drawn: dict[int, list[list[Sketch]]] = {n: [[] for _ in range(n_draws)] for n in SIZES}
    for i, x in enumerate(tasks):
        chosen = list(samples(len(x), i, n_draws))
        sums = image_sums(candidate, x, [images for _, images in chosen])
        for k, ((n, _), sketch) in enumerate(zip(chosen, sums, strict=True)):
            drawn[n][k // len(SIZES)].append(sketch)
    rows = []
    for n in SIZES:
        repeated = sum(len(x) < n for x in tasks)
        for eps in EPS:
            scores = np.array([_scores(candidate, sample, eps, expected) for sample in drawn[n]])
            for name, (spearman, top3) in zip(candidate.distances, np.median(scores, axis=0), strict=True):
                found = float(spearman), float(top3), n_draws, len(tasks), repeated
                rows.append(Result(n, eps, name, candidate.name, *found))
    return rows


def _scores(
    candidate: Candidate, exact: Sequence[Sketch], eps: float, expected: np.ndarray
) -> list[tuple[float, float]]:
    """Spearman and overlap by every distance of one release of every task."""
    kind, rho = exact[0].kind, rho_for(eps, DELTA)
    noisy = [add_noise({kind: sketch}, rho).sketches[kind].bind(candidate.space) for sketch in exact]
    return [_score(noisy, name, expected) for name in candidate.distances]


def _score(noisy: Sequence[Sketch], name: str, expected: np.ndarray) -> tuple[float, float]:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # where n is mostly noise
            values = distances.get(name).matrix(noisy, noisy)
    except FingerprintError:
        return 0.0, 0.0
    return agreement(values, expected) if np.isfinite(values).all() else (0.0, 0.0)


if __name__ == "__main__":
    main()
