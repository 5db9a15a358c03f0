"""What edges that follow a cohort change: how far they lie from the public ones, and how tasks then rank.

``python -m benchmarks.calibrated_spaces DIR [--json] [--cache FOLDER] [--draws 8]`` reads a directory of
tasks as `benchmarks.private_ranking` does. A cohort pools every task's first half of images (each a patient
of its own) over coarse bins, exactly or with noise at ε and δ = 1e-6 for the whole cohort; edges follow, as
`fedprint space calibrate` has them. The second halves are then sketched in spaces with public and with
calibrated edges, exactly and with noise at ε = 1 per task, and rankings of sources compared with two of raw
features: the mean over features of the Cramér distance between ranks among all tasks, and the maximum mean
discrepancy under a Gaussian kernel of the median width.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.private_spaces import Candidate, image_sums
from benchmarks.ranking_agreement import agreement
from benchmarks.task_features import reference, task_features
from federation import distances
from federation.calibration import Calibration, calibrate, coarse_edges
from federation.errors import FingerprintError
from federation.privacy.accounting import rho_for
from federation.privacy.mechanism import add_noise
from federation.sketches import CdfSketch, HistogramSketch, Sketch
from federation.sketches.cdf_parameters import CdfParameters
from federation.space import Binning, Space, edges_from_reference
from site_agent.extractors import load_extractor, packaged_efficientnet_lite0

DELTA = 1e-6
SPACES: tuple[tuple[str, int, Binning, str], ...] = (
    ("cdf", 2, "skewed", "cdf-l2"),
    ("cdf", 4, "skewed", "cdf-l2"),
    ("cdf", 4, "equal-mass", "cdf-l2"),
    ("histogram", 4, "equal-mass", "cramer"),
    ("histogram", 20, "equal-width", "cramer"),
    ("histogram", 100, "equal-width", "cramer"),
)
COHORTS = ((64, 0.0), (16, 0.0), (64, 4.0), (16, 4.0), (8, 4.0), (64, 1.0), (16, 1.0), (8, 1.0))
"""Coarse bins and ε of the cohort; 0: exact."""


@dataclass(frozen=True)
class Result:
    """One space: where its edges come from, and how it ranks.

    Args:
        space: Kind of sketch, bins, binning and distance.
        edges: ``"public"``, or coarse bins and ε of the cohort.
        public_share: Share of features that keep public edges.
        shift: Median over features of how far edges moved, in coarse bins.
        ranks: Spearman and overlap of the three nearest with the Cramér distance of ranks, without noise.
        mmd: Likewise with the maximum mean discrepancy.
        noisy_ranks: As ``ranks``, tasks with noise at ε = 1; medians over draws.
        noisy_mmd: As ``mmd``, likewise.
    """

    space: str
    edges: str
    public_share: float
    shift: float
    ranks: tuple[float, float]
    mmd: tuple[float, float]
    noisy_ranks: tuple[float, float]
    noisy_mmd: tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--cache", type=Path, help="folder that keeps features between runs")
    parser.add_argument("--leave-out", nargs="*", default=[], help="tasks that have no part in it")
    arguments = parser.parse_args()
    cache = arguments.cache or Path(tempfile.mkdtemp(prefix="calibrated-spaces-"))
    fine, features = task_features(arguments.directory, cache, 2000)
    tasks = [np.asarray(x) for name, x in features.items() if name not in arguments.leave_out]
    public = reference(cache, load_extractor(packaged_efficientnet_lite0()))
    cohort, ranked = _halves(tasks)
    print(f"{len(tasks)} tasks, a cohort of {len(cohort)} images", file=sys.stderr)
    truths = rank_distances(ranked), mmd_distances(ranked)
    results = []
    for row in _results(fine, public, cohort, ranked, truths, arguments.draws):
        results.append(row)
        if not arguments.json:
            print(_line(row), flush=True)
    if arguments.json:
        print(json.dumps({"results": [asdict(row) for row in results]}, indent=1))


def _halves(tasks: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    orders = [np.random.default_rng(i).permutation(len(x)) for i, x in enumerate(tasks)]
    first = [x[order[: len(x) // 2]] for x, order in zip(tasks, orders, strict=True)]
    second = [x[order[len(x) // 2 :]] for x, order in zip(tasks, orders, strict=True)]
    return np.concatenate(first), second


def rank_distances(tasks: Sequence[np.ndarray], n_features: int = 256) -> np.ndarray:
    """Return float64 [n_tasks, n_tasks]: Cramér distances of ranks among all tasks, each weighing the same.

    Args:
        tasks: float [n_images, n_features] of each.
        n_features: So many features, spread evenly, stand for all.
    """
    chosen = np.linspace(0, tasks[0].shape[1] - 1, n_features).astype(int)
    total = np.zeros((len(tasks), len(tasks)))
    grid = np.linspace(0, 1, 200)[1:-1]
    for f in chosen:
        columns = [x[:, f] for x in tasks]
        cuts = np.quantile(np.concatenate([np.quantile(c, grid) for c in columns]), grid)
        below = np.array([(c[:, None] <= cuts).mean(axis=0) for c in columns])
        total += ((below[:, None] - below[None]) ** 2).mean(axis=2)
    return np.asarray(total)


def mmd_distances(tasks: Sequence[np.ndarray], n_images: int = 300) -> np.ndarray:
    """Return float64 [n_tasks, n_tasks]: squared maximum mean discrepancies of standardised features."""
    tasks = [x[:n_images].astype(np.float64) for x in tasks]
    everything = np.concatenate(tasks)
    owner = np.repeat(np.arange(len(tasks)), [len(x) for x in tasks])
    everything = (everything - everything.mean(axis=0)) / np.maximum(everything.std(axis=0), 1e-9)
    squares = (everything**2).sum(axis=1)
    apart = np.maximum(squares[:, None] + squares[None] - 2 * everything @ everything.T, 0)
    kernel = np.exp(-apart / np.median(apart))
    member = (owner[None] == np.arange(len(tasks))[:, None]).astype(np.float64)
    member /= member.sum(axis=1, keepdims=True)
    means = member @ kernel @ member.T
    return np.asarray(np.diag(means)[:, None] + np.diag(means)[None] - 2 * means)


def _results(
    fine: Space,
    public: np.ndarray,
    cohort: np.ndarray,
    ranked: Sequence[np.ndarray],
    truths: tuple[np.ndarray, np.ndarray],
    draws: int,
) -> Iterator[Result]:
    pooled = {setting: _pooled(fine, public, cohort, *setting) for setting in COHORTS}
    for kind, n_bins, binning, distance in SPACES:
        name = f"{kind} {n_bins} {binning} {distance}"
        edges = edges_from_reference(public, n_bins, binning)
        spaces: list[tuple[str, Calibration | None]] = [("public", None)]
        for (n_coarse, eps), (coarse, sketch) in pooled.items():
            found = calibrate(coarse, sketch, public, n_bins, binning)
            spaces.append((f"{n_coarse} coarse, {f'ε {eps:g}' if eps else 'exact'}", found))
        for label, found in spaces:
            space = _space(fine, public, kind, edges if found is None else found.edges, binning)
            scores = _scores(Candidate(name, space, (distance,)), ranked, truths, draws)
            moved = (1.0, 0.0) if found is None else (found.n_public / len(edges), found.median_shift)
            yield Result(name, label, *moved, *scores)


def _pooled(
    fine: Space, public: np.ndarray, cohort: np.ndarray, n_coarse: int, eps: float
) -> tuple[Space, HistogramSketch]:
    coarse = replace(fine, edges=coarse_edges(public, n_coarse))
    sketch = HistogramSketch.from_features(cohort, coarse.edges)
    if not eps:
        return coarse, sketch
    noisy = add_noise({"histogram": sketch}, rho_for(eps, DELTA)).sketches["histogram"]
    return coarse, HistogramSketch(
        noisy.to_vector().reshape(sketch.counts.shape), coarse.edges, noise=noisy.noise
    )


def _space(fine: Space, public: np.ndarray, kind: str, edges: np.ndarray, binning: Binning) -> Space:
    parameters = CdfParameters.of_reference(edges, public).to_space() if kind == CdfSketch.kind else {}
    return replace(fine, edges=edges, binning=binning, sketches={kind: parameters})


def _scores(
    candidate: Candidate, tasks: Sequence[np.ndarray], truths: tuple[np.ndarray, np.ndarray], draws: int
) -> tuple[tuple[float, float], ...]:
    everything = [[np.arange(len(x))] for x in tasks]
    exact = [image_sums(candidate, x, images)[0] for x, images in zip(tasks, everything, strict=True)]
    (kind,), (distance,) = candidate.space.sketches, candidate.distances
    rho = rho_for(1.0, DELTA)
    matrices = [_matrix([sketch.bind(candidate.space) for sketch in exact], distance)]
    for _ in range(draws):
        noisy = [add_noise({kind: s}, rho).sketches[kind].bind(candidate.space) for s in exact]
        matrices.append(_matrix(noisy, distance))
    plain = [agreement(matrices[0], truth) for truth in truths]
    noised = [np.median([agreement(m, truth) for m in matrices[1:]], axis=0) for truth in truths]
    return (*plain, *((float(a), float(b)) for a, b in noised))


def _matrix(sketches: Sequence[Sketch], distance: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = distances.get(distance).matrix(sketches, sketches)
    except FingerprintError:  # noise left no image
        found = np.zeros((len(sketches), len(sketches)))
    return np.asarray(np.where(np.isfinite(found), found, 0.0))


def _line(row: Result) -> str:
    pairs = (row.ranks, row.mmd, row.noisy_ranks, row.noisy_mmd)
    scores = "  ".join(f"{a:.3f} {b:.3f}" for a, b in pairs)
    return f"{row.space:40s} {row.edges:18s} public {row.public_share:.2f} moved {row.shift:6.2f}   {scores}"


if __name__ == "__main__":
    main()
