"""Optimal transport between samples of whole feature vectors, by the Python Optimal Transport library."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.research.classes import LEAST, class_distances, class_gaussians
from deploy.research.features import TaskFeatures
from federation.errors import ConfigError, DataError
from federation.kernels import squared_distances

Floats = npt.NDArray[np.float64]

_MAX_ITERATIONS = 10_000
_TOLERANCE = 1e-7


def transport_library() -> Any:
    """Return the module ``ot``.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import ot
    except ImportError as error:
        raise ConfigError(
            "the Python Optimal Transport library, which transport between samples needs, is not installed",
            remedy='pip install "fedprint[research]"',
        ) from error
    return ot


def sinkhorn_divergence(x: npt.NDArray[Any], y: npt.NDArray[Any], eps: float) -> float:
    """Return the debiased Sinkhorn divergence of two samples (Feydy et al. 2019), cost ½‖x − y‖².

    W_ε(x, y) − ½ W_ε(x, x) − ½ W_ε(y, y) with W_ε = min_P ⟨P, C⟩ + ε KL(P ‖ uniform).

    Args:
        x: float [n_x, n_features].
        y: float [n_y, n_features].
        eps: Strength of the entropic term, in units of the cost.
    """
    across, own_x, own_y = (_entropic_cost(*pair, eps) for pair in ((x, y), (x, x), (y, y)))
    return across - (own_x + own_y) / 2


def otdd(source: TaskFeatures, target: TaskFeatures) -> float:
    """Return the optimal transport dataset distance of two labelled tasks (Alvarez-Melis & Fusi 2020).

    The exact cost of the cheapest plan between images, where moving an image (x, y) to (x′, y′) costs
    ‖x − x′‖² + W₂²(class y, class y′), classes as Gaussians with full covariance. No root is taken, no
    dimension reduced, nothing regularised. Names of classes do not matter, only where their images lie.

    Raises:
        DataError: If a task has no class of at least two images.
    """
    ot = transport_library()
    (x, x_labels), (y, y_labels) = (_of_classes(task) for task in (source, target))
    between = class_distances(class_gaussians(x, x_labels), class_gaussians(y, y_labels))
    cost = squared_distances(x, y) + between[_positions(x_labels)][:, _positions(y_labels)]
    return float(ot.emd2(_uniform(len(x)), _uniform(len(y)), cost, numItermax=10_000_000))


def _entropic_cost(x: npt.NDArray[Any], y: npt.NDArray[Any], eps: float) -> float:
    cost, a, b = squared_distances(x, y) / 2, _uniform(len(x)), _uniform(len(y))
    plan = transport_library().sinkhorn(
        a, b, cost, eps, numItermax=_MAX_ITERATIONS, stopThr=_TOLERANCE, warn=False
    )
    kept = plan > 0
    divergence = (plan[kept] * np.log(plan[kept] * (len(x) * len(y)))).sum()
    return float((plan * cost).sum() + eps * divergence)


def _of_classes(task: TaskFeatures) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return images and labels of the classes that are large enough to have a covariance."""
    labels, counts = np.unique(task.labels, return_counts=True)
    kept = np.isin(task.labels, labels[counts >= LEAST])
    if not kept.any():
        raise DataError(
            f"{task.key} has no class with {LEAST} images among the {len(task.labels)} that were drawn",
            remedy="draw more images",
        )
    return task.features[kept].astype(np.float64), task.labels[kept]


def _positions(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.unique(labels, return_inverse=True)[1]


def _uniform(n: int) -> Floats:
    return np.full(n, 1 / n)
