"""All pairs of tasks by raw-sample distances and, beside them, by the distances between fingerprints."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from deploy.research.features import TaskFeatures
from deploy.research.one_dimensional import wasserstein_1d
from deploy.research.sample_transport import otdd, sinkhorn_divergence, transport_library
from federation import distances
from federation.distances.kernel_exact import exact_mmd
from federation.kernels import Kernel, median_squared_distance
from federation.space import Space

Floats = npt.NDArray[np.float64]
Pair = Callable[[TaskFeatures, TaskFeatures], float]

BLUR = 0.1
"""Entropic term of the Sinkhorn divergence between samples, as a share of the median cost of two images."""

_POOLED = 2000  # images, of all tasks together, whose median squared distance sets the scale of the kernels


@dataclass(frozen=True)
class SampleDistance:
    """A symmetric distance between raw samples, zero between a task and itself.

    Args:
        name: Of its file.
        formula: What it is.
        pair: The distance of two different tasks.
    """

    name: str
    formula: str
    pair: Pair

    def matrix(self, tasks: Sequence[TaskFeatures]) -> Floats:
        """Return float64 [n_tasks, n_tasks]."""
        values = np.zeros((len(tasks), len(tasks)))
        for i in range(len(tasks)):
            for j in range(i):
                values[i, j] = values[j, i] = self.pair(tasks[i], tasks[j])
        return values


def sample_distances(tasks: Sequence[TaskFeatures], transport_images: int) -> tuple[SampleDistance, ...]:
    """Return the raw-sample distances, with their scales set by the tasks at hand.

    Args:
        tasks: All tasks.
        transport_images: Most images per task that transport between whole feature vectors looks at.

    Raises:
        ConfigError: If the transport library is not installed.
    """
    transport_library()
    scale = _median_squared_distance(tasks)

    def mmd(kernel: Kernel, a: TaskFeatures, b: TaskFeatures) -> float:
        return exact_mmd(a.features, b.features, kernel, scale)

    def sinkhorn(a: TaskFeatures, b: TaskFeatures) -> float:
        x, y = (task.at_most(transport_images).features for task in (a, b))
        return sinkhorn_divergence(x, y, BLUR * scale / 2)

    def labelled(a: TaskFeatures, b: TaskFeatures) -> float:
        return otdd(a.at_most(transport_images), b.at_most(transport_images))

    n = transport_images
    return (
        SampleDistance(
            "exact-w1",
            "1-Wasserstein distance of every feature's values, mean over features",
            lambda a, b: wasserstein_1d(a.features, b.features),
        ),
        SampleDistance(
            "exact-mmd-gaussian",
            f"MMD², unbiased, kernel exp(−r²/2b), b = {scale:.6g}",
            partial(mmd, "gaussian"),
        ),
        SampleDistance(
            "exact-mmd-cauchy", f"MMD², unbiased, kernel b/(b + r²), b = {scale:.6g}", partial(mmd, "cauchy")
        ),
        SampleDistance(
            "sample-sinkhorn",
            f"debiased Sinkhorn divergence, cost r²/2, ε = {BLUR * scale / 2:.6g}, at most {n} images each",
            sinkhorn,
        ),
        SampleDistance(
            "otdd",
            f"OTDD, cost r² + W₂² of the classes as Gaussians, exact plan, at most {n} images each",
            labelled,
        ),
    )


def fingerprint_distances(tasks: Sequence[TaskFeatures], space: Space) -> Iterator[tuple[str, Floats]]:
    """Yield name and matrix of every registered distance that the space provides for, slow ones included."""
    prints = [task.fingerprint for task in tasks]
    for name in distances.names():
        if name in distances.available(space, name):
            yield name, distances.get(name).matrix(prints, prints)


def _median_squared_distance(tasks: Sequence[TaskFeatures]) -> float:
    share = max(2, _POOLED // len(tasks))
    return median_squared_distance(np.concatenate([task.at_most(share).features for task in tasks]))
