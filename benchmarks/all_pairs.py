"""All-pairs distances against loops over pairs and against the machine's matrix-product peak, in one run.

The first loop is the published formula, vectorised over features. The second calls SciPy for every pair:
``wasserstein_distance`` and ``energy_distance`` of every feature, ``jensenshannon`` of all features at once.
The share of the peak is given by the clock and in processor time, which other work disturbs less.

``python -m benchmarks.all_pairs [--tasks 1000] [--json]``
"""

import argparse
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import energy_distance, wasserstein_distance

from benchmarks.timing import clock_and_processor, seconds_of
from federation import distances
from federation.distances.bilinear import BilinearDistance
from federation.sketches import HistogramSketch

N_FEATURES, N_BINS, N_IMAGES = 512, 100, 1000
_LOOP_PAIRS, _SCIPY_PAIRS = 50, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tasks = _tasks(arguments.tasks)
    memory = _memory(tasks)
    results = [_measure(name, tasks) for name in distances.names() if _standing(name)]
    if arguments.json:
        print(json.dumps({"memory": memory, "results": results}, indent=1))
    else:
        _show(memory, results)


def _standing(name: str) -> bool:
    """Whether every catalogue computes it; those left for demand are for a few tasks."""
    distance = distances.get(name)
    return distance.needs == "histogram" and not distance.on_demand


def _show(memory: dict[str, float], results: list[dict[str, Any]]) -> None:
    print(f"{results[0]['tasks']} tasks × {N_FEATURES} features × {N_BINS} bins, float64")
    print(
        f"counts {memory['counts_mib']:.0f} MiB, bkld-small needs {memory['extra_mib']:.0f} MiB beside them"
    )
    print("distance           all pairs    loop over pairs   GEMM peak clock/CPU   of a SciPy loop's time")
    for row in results:
        share = (
            "-"
            if row["gemm_share"] is None
            else f"{row['gemm_share']:.0%} / {row['gemm_share_processor']:.0%}"
        )
        scipy = "-" if row["scipy_share"] is None else f"{row['scipy_share']:.2%}"
        print(
            f"{row['distance']:18s} {row['seconds']:7.2f} s {row['loop_ratio']:14,.0f} × {share:>20s} "
            f"{scipy:>20s}"
        )


def _tasks(n: int) -> list[HistogramSketch]:
    random = np.random.default_rng(0)
    edges = np.tile(np.linspace(0, 1, N_BINS + 1), (N_FEATURES, 1))
    sketches = []
    for _ in range(n):
        centre, width = random.uniform(0, 1, (2, N_FEATURES))
        values = random.normal(centre, 0.1 + width / 2, (N_IMAGES, N_FEATURES))
        sketches.append(HistogramSketch.from_features(values, edges))
    return sketches


def _memory(tasks: list[HistogramSketch]) -> dict[str, float]:
    tracemalloc.start()
    distances.get("bkld-small").matrix(tasks, tasks)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"counts_mib": sum(task.counts.nbytes for task in tasks) / 2**20, "extra_mib": peak / 2**20}


def _gemm_peak() -> list[float]:
    """Best product of square matrices and of the shape that all pairs need.

    Returns:
        Operations per second by the clock and of the processor.
    """
    random = np.random.default_rng(0)
    shapes = [(2048, 2048), (1024, 8192)]
    peaks = []
    for n, k in shapes:
        a, b = random.random((2, n, k))
        times = [clock_and_processor(lambda a=a, b=b: a @ b.T) for _ in range(4)]
        peaks += [[2 * n * n * k / seconds for seconds in pair] for pair in times]
    best: list[float] = np.max(peaks, axis=0).tolist()
    return best


def _measure(name: str, tasks: list[HistogramSketch]) -> dict[str, Any]:
    distance, product = distances.get(name), isinstance(distances.get(name), BilinearDistance)
    peak = _gemm_peak()  # again for every distance: other work on the machine comes and goes
    times = [clock_and_processor(lambda: distance.matrix(tasks, tasks)) for _ in range(2)]
    seconds, processor = np.min(times, axis=0).tolist()
    operations = 2 * len(tasks) ** 2 * N_FEATURES * N_BINS
    by_scipy = _scipy_seconds(name, tasks)
    return {
        "distance": name,
        "tasks": len(tasks),
        "seconds": seconds,
        "loop_ratio": _loop_seconds(name, tasks) / seconds,
        "gemm_gflops": peak[0] / 1e9,
        "gemm_share": operations / seconds / peak[0] if product else None,
        "gemm_share_processor": operations / processor / peak[1] if product else None,
        "scipy_share": None if by_scipy is None else seconds / by_scipy,
    }


def _loop_seconds(name: str, tasks: list[HistogramSketch]) -> float:
    """Time of the published formula pair by pair for all pairs, extrapolated from some of them."""
    h = [task.frequencies() for task in tasks[:10]]
    means = [task.mean_features() for task in tasks[:10]]

    def loop() -> None:
        for pair in range(_LOOP_PAIRS):
            s, t = pair % len(h), (3 * pair + 1) % len(h)
            np.average(_PER_FEATURE[name](h[s], h[t]), weights=_weights(name, means[s], means[t]))

    return seconds_of(loop) / _LOOP_PAIRS * len(tasks) ** 2


def _scipy_seconds(name: str, tasks: list[HistogramSketch]) -> float | None:
    """Time of SciPy's function pair by pair for all pairs, extrapolated from some of them."""
    if name not in _BY_SCIPY:
        return None
    h = [task.frequencies() for task in tasks[:5]]
    pairs = [(k % len(h), (3 * k + 1) % len(h)) for k in range(_SCIPY_PAIRS)]
    found: list[float] = []
    seconds = seconds_of(lambda: found.extend(float(np.mean(_BY_SCIPY[name](h[s], h[t]))) for s, t in pairs))
    expected = distances.get(name).matrix(tasks[:5], tasks[:5])
    np.testing.assert_allclose(found, [expected[pair] for pair in pairs], rtol=1e-9, atol=1e-12)
    return seconds / _SCIPY_PAIRS * len(tasks) ** 2


def _kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(p * np.log(p / q)).sum(axis=1)


def _bkld(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return _kl(t, np.exp(s) / np.exp(s).sum(axis=1, keepdims=True))


def _js(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (_kl(s, (s + t) / 2) + _kl(t, (s + t) / 2)) / 2


def _clipped(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    p, q = np.maximum(t, 1e-4), np.maximum(s, 1e-4)
    return _kl(p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True))


_PER_FEATURE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "bkld-small": _bkld,
    "bkld-large": _bkld,
    "bkld-large-source": _bkld,
    "js": _js,
    "kld-clipped": _clipped,
    "emd": lambda s, t: np.abs(np.cumsum(s - t, axis=1)).sum(axis=1),
    "cramer": lambda s, t: (np.cumsum(s - t, axis=1) ** 2).sum(axis=1),
    "l2": lambda s, t: ((s - t) ** 2).sum(axis=1),
    "l1": lambda s, t: np.abs(s - t).sum(axis=1),
    "cosine": lambda s, t: 1 - (s * t).sum(axis=1) / np.linalg.norm(s, axis=1) / np.linalg.norm(t, axis=1),
}


_BINS = np.arange(N_BINS)
_BY_SCIPY: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "emd": lambda s, t: [wasserstein_distance(_BINS, _BINS, a, b) for a, b in zip(s, t, strict=True)],
    "cramer": lambda s, t: [energy_distance(_BINS, _BINS, a, b) ** 2 / 2 for a, b in zip(s, t, strict=True)],
    "js": lambda s, t: jensenshannon(s, t, axis=1) ** 2,
}


def _weights(name: str, source_means: np.ndarray, target_means: np.ndarray) -> np.ndarray:
    if name == "bkld-small":
        return np.exp(target_means)
    return source_means if name == "bkld-large-source" else np.ones_like(source_means)


if __name__ == "__main__":
    main()
