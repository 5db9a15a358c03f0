"""Shift-invariant kernels of feature vectors and the public rule for their bandwidth.

The bandwidth b has the unit of a *squared* distance in both kernels, so that one rule serves both: at
‖x − y‖² = b the Gaussian kernel is exp(−½) and the Cauchy kernel is ½.
"""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from federation.errors import SpaceError

Kernel = Literal["gaussian", "cauchy"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
Matrix = npt.NDArray[np.float64]


def check_kernel(kernel: str, bandwidth: float) -> None:
    """Raise unless there is such a kernel and its bandwidth is positive and finite.

    Raises:
        SpaceError: Otherwise.
    """
    if kernel not in KERNELS:
        raise SpaceError(f"unknown kernel {kernel!r}", remedy=f"use one of {', '.join(KERNELS)}")
    if not 0 < bandwidth < np.inf:
        raise SpaceError(
            f"bandwidth {bandwidth} of the {kernel} kernel is no positive number",
            remedy="use the median squared distance of public features",
        )


def kernel_values(squared: Matrix, kernel: Kernel, bandwidth: float) -> Matrix:
    """Return k as a function of squared distances.

    Args:
        squared: float64, any shape: r² = ‖x − y‖².
        kernel: ``"gaussian"``: exp(−r²/2b); ``"cauchy"``: b/(b + r²) (Godau & Maier-Hein 2021, b = σ²).
        bandwidth: b.

    Returns:
        float64 in [0, 1], of the same shape.
    """
    check_kernel(kernel, bandwidth)
    if kernel == "gaussian":
        return np.asarray(np.exp(squared / (-2 * bandwidth)))
    return np.asarray(bandwidth / (bandwidth + squared))


def squared_distances(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> Matrix:
    """Return ‖x_i − y_j‖², float64 [n_x, n_y], by one matrix product.

    Args:
        x: float [n_x, n_features].
        y: float [n_y, n_features].
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    squared = a @ (-2 * b.T)
    squared += np.einsum("if,if->i", a, a)[:, None]
    squared += np.einsum("if,if->i", b, b)
    return np.maximum(squared, 0.0, out=squared)


def median_squared_distance(features: npt.NDArray[Any]) -> float:
    """Return the median of ‖x_i − x_j‖² over all pairs of images, to six digits (the median heuristic).

    Gretton et al., JMLR 13 (2012), §8. Applied to public images only: a bandwidth that followed a site's
    data would be a release of its own.

    Args:
        features: float [n_images, n_features] of public images, finite.

    Raises:
        SpaceError: If there are fewer than two images or most of them have the same features.
    """
    x = np.asarray(features, dtype=np.float64)
    if len(x) < 2:
        raise SpaceError(f"{len(x)} public images have no distance", remedy="use at least 2")
    squared = squared_distances(x - x.mean(axis=0), x - x.mean(axis=0))
    median = float(np.median(squared[np.triu_indices(len(x), 1)]))
    if not 0 < median < np.inf:
        raise SpaceError(
            f"the median squared distance of {len(x)} public images is {median}",
            remedy="use other public images, or another extractor",
        )
    return float(f"{median:.6g}")
