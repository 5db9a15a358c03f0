"""Random Fourier features in integer arithmetic: the same integers on every machine, however batches fall.

A shift-invariant kernel is an average of cosines, k(x, y) = E cos(ωᵀ(x − y)) with ω drawn from the kernel's
spectrum (Rahimi & Recht, NIPS 2007). With m frequencies the 2m numbers cos(ωᵀx), sin(ωᵀx), divided by √m,
have inner products close to k. Pairs of cosine and sine are used rather than cosines with random phases:
at equal length their error is smaller for the Gaussian kernel at every distance, and k(x, x) = 1 holds
without error (Sutherland & Schneider, UAI 2015).

Spectra, for bandwidth b:

* Gaussian exp(−r²/2b): ω ~ N(0, I/b).
* Cauchy b/(b + r²) = ∫ exp(−s r²/b) e^(−s) ds, so ω given s ~ N(0, (2s/b) I), s ~ Exp(1).

Every rounding happens before a sum, so nothing depends on the order of additions:

* Features are counted in steps of √b / 2^16 and standard normal numbers in steps of 2^-12. The products of
  such integers sum to less than 2^53 in magnitude, so a matrix product in double precision is exact.
* The phase ωᵀx is one multiplication of that integer, rounded down to one of 2^16 parts of a turn; cosines
  are looked up in a table of integers in units of 1/amplitude, 2^-16 by default. The phase is off by at
  most 10^-4, evenly either way, which is far below what a thousand random frequencies leave.
* Chance comes from raw Philox words, whose stream NumPy promises not to change, through the normal quantile.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from federation.errors import SpaceError
from federation.kernels import Kernel, check_kernel
from federation.sketches.base import IntVector, require_features

MAX_FEATURES = 2**13
MAX_RANDOM = 2**16
AMPLITUDE = 2**16  # what cos 0 counts as, unless a space says otherwise
_PHASES = 2**16  # parts of a turn
_STEPS = 2**16  # feature steps per √bandwidth
_FAR = 2**24  # largest number of steps: features beyond 256 √bandwidth count as that far
_NORMAL_STEPS = 2**12
_KEY = 0x66656470_72696E74
_NORMALS, _SCALES = 0, 1
_ROWS = 1024  # images whose phases are held at a time


@dataclass(frozen=True)
class RandomFeatures:
    """A fixed draw of random Fourier features.

    Args:
        n_features: Length of a feature vector.
        kernel: Whose features these are.
        bandwidth: In units of a squared distance of features.
        n_random: Number of random features, even: a cosine and a sine per frequency.
        seed: Which draw. The frequencies of fewer random features are the first of more.
        amplitude: What cos 0 counts as. Sums in coarse units take noise of fewer digits.

    Raises:
        SpaceError: If a parameter is impossible.
    """

    n_features: int
    kernel: Kernel
    bandwidth: float
    n_random: int
    seed: int = 0
    amplitude: int = AMPLITUDE

    def __post_init__(self) -> None:
        check_kernel(self.kernel, self.bandwidth)
        if not 1 <= self.n_features <= MAX_FEATURES:
            raise SpaceError(
                f"random features of {self.n_features} features: only 1 to {MAX_FEATURES} sum exactly",
                remedy="use an extractor with fewer features",
            )
        if not 2 <= self.n_random <= MAX_RANDOM or self.n_random % 2:
            raise SpaceError(
                f"{self.n_random} random features are no even number from 2 to {MAX_RANDOM}",
                remedy="use for example 4096",
            )
        if not 0 <= self.seed < 2**62:
            raise SpaceError(f"seed {self.seed} is not in [0, 2^62)", remedy="use a small whole number")
        if not 1 <= self.amplitude <= AMPLITUDE:
            raise SpaceError(
                f"amplitude {self.amplitude} is not in [1, {AMPLITUDE}]", remedy=f"use {AMPLITUDE} or 64"
            )

    def sums(self, features: npt.NDArray[Any]) -> IntVector:
        """Return int64 [n_random]: sums of cosines, then of sines, in units of 1/amplitude.

        Args:
            features: float [n_images, n_features], finite.

        Raises:
            FingerprintError: If the features have the wrong length or hold NaN or infinity.
        """
        require_features(features, self.n_features)
        total = np.zeros((2, self.n_random // 2), dtype=np.int64)
        for start in range(0, len(features), _ROWS):
            phases = self._phases(features[start : start + _ROWS])
            total += np.stack(
                [table[phases].sum(axis=0, dtype=np.int64) for table in _tables(self.amplitude)]
            )
        return total.ravel()

    @property
    def largest_image(self) -> tuple[float, float]:
        """Largest L1 and L2 norm that one image can add to ``sums``."""
        cosine, sine = (table.astype(np.float64) for table in _tables(self.amplitude))
        m = self.n_random // 2
        return m * float((abs(cosine) + abs(sine)).max()), math.sqrt(m * float((cosine**2 + sine**2).max()))

    def _phases(self, features: npt.NDArray[Any]) -> IntVector:
        """Return int64 [n_images, n_random / 2] in parts of a turn."""
        with np.errstate(over="ignore", under="ignore"):
            steps = np.rint(np.asarray(features, dtype=np.float64) * (_STEPS / math.sqrt(self.bandwidth)))
        products = np.clip(steps, -_FAR, _FAR, out=steps) @ self._normals
        parts = np.floor(products * self._parts_per_product).astype(np.int64)
        return np.bitwise_and(parts, _PHASES - 1, out=parts)

    @cached_property
    def _normals(self) -> npt.NDArray[np.float64]:
        """Standard normal numbers in steps of 2^-12, as whole float64 [n_features, n_random / 2]."""
        from scipy.special import ndtri  # slow to import, and seldom needed

        drawn = ndtri(self._uniform(_NORMALS, (self.n_random // 2, self.n_features)))
        return np.asarray(np.rint(drawn * _NORMAL_STEPS).T)

    @cached_property
    def _parts_per_product(self) -> npt.NDArray[np.float64]:
        """Parts of a turn per unit of the integer product, float64 [n_random / 2] or one for all."""
        unit = _PHASES / (2 * math.pi * _STEPS * _NORMAL_STEPS)
        if self.kernel == "gaussian":
            return np.array([unit])
        exponential = -np.log(self._uniform(_SCALES, (self.n_random // 2,)))
        scales = np.sqrt(2 * np.rint(exponential * _NORMAL_STEPS) / _NORMAL_STEPS)
        return np.asarray(unit * scales)

    def _uniform(self, stream: int, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Return numbers inside (0, 1) with 32 random bits."""
        words = np.random.Philox(key=(_KEY << 64) | (self.seed << 1) | stream).random_raw(math.prod(shape))
        return ((words >> np.uint64(32)).astype(np.float64) + 0.5).reshape(shape) / 2**32


@lru_cache(maxsize=4)
def _tables(amplitude: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return cosines and sines of every phase, int32 [_PHASES] each."""
    # The middle of each part of a turn, so that rounding phases down is even either way.
    turns = 2 * np.pi * (np.arange(_PHASES) + 0.5) / _PHASES
    cosine, sine = (np.rint(amplitude * function(turns)).astype(np.int32) for function in (np.cos, np.sin))
    return cosine, sine
