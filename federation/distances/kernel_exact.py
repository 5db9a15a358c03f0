"""Maximum mean discrepancy of two samples whose features are at hand: what mean embeddings approximate."""

from typing import Any

import numpy as np
import numpy.typing as npt

from federation.distances.base import Matrix
from federation.errors import FingerprintError
from federation.kernels import Kernel, kernel_values, squared_distances

CHUNK = 2048  # images per side whose kernel is held at a time (32 MiB)


def exact_mmd(
    x: npt.NDArray[Any], y: npt.NDArray[Any], kernel: Kernel, bandwidth: float, *, unbiased: bool = True
) -> float:
    """Return the squared maximum mean discrepancy of two samples.

    Biased (V-statistic): mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y) over all pairs, which for equal
    sizes is the published estimate of Godau & Maier-Hein 2021 (mml, Cauchy kernel). Unbiased
    (U-statistic, Gretton et al. 2012, equation 3): without the pairs of an image with itself.

    Args:
        x: float [n_x, n_features].
        y: float [n_y, n_features].
        kernel: Which kernel.
        bandwidth: In units of a squared distance; σ² of the Gaussian kernel.
        unbiased: Which estimate.

    Raises:
        FingerprintError: If the samples are no such arrays, or too small for the estimate.
        SpaceError: If there is no such kernel or its bandwidth is not positive.
    """
    a, b = _sample(x, "x", unbiased), _sample(y, "y", unbiased)
    if a.shape[1] != b.shape[1]:
        raise FingerprintError(f"samples of {a.shape[1]} and {b.shape[1]} features cannot be compared")
    centre = a.mean(axis=0)  # shift-invariant kernels do not mind, and rounding errors shrink
    a, b = a - centre, b - centre
    across = _total(a, b, kernel, bandwidth) / (len(a) * len(b))
    return _within(a, kernel, bandwidth, unbiased) + _within(b, kernel, bandwidth, unbiased) - 2 * across


def _sample(x: npt.NDArray[Any], name: str, unbiased: bool) -> Matrix:
    x = np.asarray(x, dtype=np.float64)
    least = 2 if unbiased else 1
    if x.ndim != 2 or len(x) < least or not np.isfinite(x).all():
        raise FingerprintError(
            f"sample {name} of shape {list(x.shape)}: expected finite [images, features] with at least "
            f"{least} images",
            remedy="check the features, or use the biased estimate for a single image",
        )
    return x


def _within(x: Matrix, kernel: Kernel, bandwidth: float, unbiased: bool) -> float:
    n, total = len(x), _total(x, x, kernel, bandwidth)
    return (total - n) / (n * (n - 1)) if unbiased else total / n**2


def _total(x: Matrix, y: Matrix, kernel: Kernel, bandwidth: float) -> float:
    """Return Σ_ij k(x_i, y_j), block by block."""
    return sum(
        float(kernel_values(squared_distances(x[i : i + CHUNK], y[j : j + CHUNK]), kernel, bandwidth).sum())
        for i in range(0, len(x), CHUNK)
        for j in range(0, len(y), CHUNK)
    )
