"""All-pairs distances against a loop over pairs and against the machine's matrix-product peak, in one run.

``python -m benchmarks.all_pairs [--tasks 1000] [--json]``
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from scipy.stats import wasserstein_distance

from federation import distances
from federation.sketches import HistogramSketch

N_FEATURES, N_BINS, N_IMAGES = 512, 100, 1000
_LOOP_PAIRS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tasks = _tasks(arguments.tasks)
    peak = _gemm_peak()
    results = [_measure(name, tasks, peak) for name in distances.names()]
    if arguments.json:
        print(json.dumps({"gemm_peak_gflops": peak / 1e9, "results": results}, indent=1))
        return
    print(f"{len(tasks)} tasks × {N_FEATURES} features × {N_BINS} bins; float64 GEMM peak {peak / 1e9:.0f} GFLOP/s")
    print("distance            all pairs   faster than a loop   share of GEMM peak   one new task")
    for row in results:
        share = "-" if row["gemm_share"] is None else f"{row['gemm_share']:.0%}"
        print(
            f"{row['distance']:18s} {row['seconds']:8.2f} s {row['loop_ratio']:17,.0f} × {share:>20s} "
            f"{row['new_task_seconds']:10.2f} s"
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


def _gemm_peak() -> float:
    """Best of five products of the shape that all pairs need, in floating-point operations per second."""
    n, k = 1000, 5120
    a, b = np.random.default_rng(0).random((2, n, k))
    return 2 * n * n * k / min(_seconds(lambda: a @ b.T) for _ in range(5))


def _measure(name: str, tasks: list[HistogramSketch], peak: float) -> dict[str, object]:
    distance = distances.get(name)
    distance.matrix(tasks[:8], tasks[:8])
    seconds = min(_seconds(lambda: distance.matrix(tasks, tasks)) for _ in range(2))
    loop = _seconds(lambda: _loop(name, tasks)) / _LOOP_PAIRS * len(tasks) ** 2
    products = not name.startswith(("js", "emd"))
    operations = 2 * len(tasks) ** 2 * N_FEATURES * N_BINS
    return {
        "distance": name,
        "tasks": len(tasks),
        "seconds": seconds,
        "loop_ratio": loop / seconds,
        "gemm_share": operations / seconds / peak if products else None,
        "new_task_seconds": _seconds(lambda: (distance.matrix(tasks[:1], tasks), distance.matrix(tasks, tasks[:1]))),
    }


def _loop(name: str, tasks: list[HistogramSketch]) -> None:
    for i in range(_LOOP_PAIRS):
        _one_pair(name, tasks[i].frequencies(), tasks[i + 1].frequencies())


def _one_pair(name: str, h_s: np.ndarray, h_t: np.ndarray) -> float:
    """The formula for one pair, as it is usually published: a loop over features."""
    bins = np.arange(N_BINS)
    if name == "emd":
        return float(np.mean([wasserstein_distance(bins, bins, s, t) for s, t in zip(h_s, h_t, strict=True)]))
    with np.errstate(divide="ignore", invalid="ignore"):
        per_feature = [_feature(name, s, t) for s, t in zip(h_s, h_t, strict=True)]
    return float(np.mean(per_feature))


def _feature(name: str, s: np.ndarray, t: np.ndarray) -> float:
    if name == "cramer":
        return float((np.cumsum(s - t) ** 2).sum())
    if name == "l2":
        return float(((s - t) ** 2).sum())
    if name == "js":
        m = (s + t) / 2
        return float((np.nan_to_num(s * np.log(s / m)) + np.nan_to_num(t * np.log(t / m))).sum() / 2)
    if name == "kld-clipped":
        p, q = np.maximum(t, 1e-4), np.maximum(s, 1e-4)
        p, q = p / p.sum(), q / q.sum()
        return float((p * np.log(p / q)).sum())
    q = np.exp(s) / np.exp(s).sum()
    return float(np.nan_to_num(t * np.log(t / q)).sum())


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
