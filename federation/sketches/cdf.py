"""Cumulative frequencies at a few public thresholds per feature: the sketch that is made for noise.

A histogram of m features has a sensitivity of √m per image, because every feature puts a count somewhere.
Here an image is the vector of its indicators 1[x < threshold] minus their public mean, and that vector is
clipped to a public norm. Centring takes away what all images share, clipping bounds what is left, and the
thresholds come in dyadic order, so that the vector of few levels is the beginning of that of many.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from federation.errors import FingerprintError, SpaceError, SpaceMismatchError
from federation.sketches.base import (
    EXACT,
    Arrays,
    IntVector,
    Noise,
    Sensitivity,
    Sketch,
    added_noise,
    exact_sum,
    require_cap,
    require_features,
    require_integers,
    whole,
)
from federation.sketches.cdf_parameters import SCALE, CdfParameters, n_thresholds
from federation.space import Edges, Parameters, Space

_MAX_IMAGES = 2**40
_MAX_SUM = 2**47  # of noisy numbers: what that many images give at most, four times
_ROWS = 64  # images whose vectors are held at a time


@dataclass(frozen=True, eq=False)
class CdfSketch(Sketch):
    """Sums over images of clipped, centred indicators of lying below each threshold.

    The mean over images plus the centre is the cumulative frequency, up to the clipping; the squared
    distance of two means is the Cramér distance at the thresholds (Székely 2003).

    Args:
        curve: int64 [n_thresholds, n_features] in units of 1/SCALE; 2^levels − 1 thresholds in dyadic order.
        n_images: Number of images.
        parameters_of_space: What the space fixes, or None for a sketch that was only read.
        noise: The noise in the arrays; empty for an exact sketch.

    Raises:
        FingerprintError: If the curve is no such array.
    """

    kind: ClassVar[str] = "cdf"
    shares: ClassVar[Mapping[str, Fraction]] = {"n_images": Fraction(1, 5), "curve": Fraction(4, 5)}

    curve: IntVector
    n_images: int
    parameters_of_space: CdfParameters | None = None
    noise: Noise = field(default_factory=dict)

    def __post_init__(self) -> None:
        curve = np.asarray(self.curve)
        if curve.ndim != 2 or n_thresholds(self._levels_of(curve)) != len(curve) or not curve.size:
            raise FingerprintError(
                f"cdf sums have shape {list(curve.shape)}, expected [1, 3, 7, … thresholds, features]"
            )
        object.__setattr__(self, "curve", require_integers(curve, curve.shape, "cdf sums"))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, CdfSketch)
            and self.curve.shape == other.curve.shape
            and np.array_equal(self.to_vector(), other.to_vector())
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def parameters(cls, reference: npt.NDArray[Any], edges: Edges) -> Parameters:
        """Return the centre and the clip norms that public images give.

        Args:
            reference: float [n_images, n_features] of public images.
            edges: float64 [n_features, n_bins + 1], the number of bins a power of two.
        """
        return CdfParameters.of_reference(edges, reference).to_space()

    @classmethod
    def for_space(cls, space: Space) -> Self:
        """Return the sketch of no images with all levels of a space."""
        return cls.zero(_read(space))

    @classmethod
    def zero(cls, parameters: CdfParameters, n_levels: int | None = None) -> Self:
        """Return the sketch of no images.

        Args:
            parameters: What the space fixes.
            n_levels: How many levels, by default all; few leave less room for noise.

        Raises:
            SpaceError: If the space has fewer levels.
        """
        levels = parameters.n_levels if n_levels is None else n_levels
        if not 1 <= levels <= parameters.n_levels:
            raise SpaceError(
                f"{levels} levels are asked for, the space has {parameters.n_levels}",
                remedy=f"use 1 to {parameters.n_levels}",
            )
        shape = (n_thresholds(levels), parameters.n_features)
        return cls(np.zeros(shape, np.int64), 0, parameters)

    def bind(self, space: Space) -> Self:
        """Return the same sums with the parameters of their space; they may have fewer levels than it."""
        parameters = _read(space)
        if self.curve.shape[1] != parameters.n_features or self.n_levels > parameters.n_levels:
            raise SpaceMismatchError(
                f"a cdf sketch of {self.n_levels} levels of {self.curve.shape[1]} features does not fit a "
                f"space of {parameters.n_levels} levels of {parameters.n_features}",
                remedy="fingerprint the task again in that space",
            )
        return replace(self, parameters_of_space=parameters)

    @property
    def n(self) -> int:
        """Number of images."""
        return self.n_images

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return self._levels_of(self.curve)

    @property
    def known(self) -> CdfParameters:
        """What the space fixes.

        Raises:
            SpaceMismatchError: If the sketch was only read.
        """
        if self.parameters_of_space is None:
            raise SpaceMismatchError("this cdf sketch does not know its thresholds", remedy="bind() it first")
        return self.parameters_of_space

    def update(self, features: npt.NDArray[Any]) -> Self:
        """Return the sketch with more images.

        Args:
            features: float [n_images, n_features], finite.

        Raises:
            FingerprintError: If the features have the wrong length or hold NaN or infinity.
        """
        require_features(features, self.curve.shape[1])
        grown = self.curve.copy()
        for start in range(0, len(features), _ROWS):
            grown += self.known.vectors(features[start : start + _ROWS], self.n_levels).sum(axis=0)
        return replace(self, curve=grown, n_images=self.n_images + len(features))

    def __add__(self, other: Self) -> Self:
        """Return the sketch of both sets of images."""
        if self.curve.shape != other.curve.shape:
            raise SpaceMismatchError(
                f"cdf sketches of {self.n_levels} and of {other.n_levels} levels, or of other features, "
                "cannot be added",
                remedy="add sketches of one space and as many levels",
            )
        curve = exact_sum(self.curve, other.curve, "cdf sums")
        n_images, noise = self.n_images + other.n_images, added_noise(self.noise, other.noise)
        return replace(self, curve=curve, n_images=n_images, noise=noise)

    def to_vector(self) -> IntVector:
        """Return the number of images, then the sums, as one int64 vector."""
        return np.concatenate([[self.n_images], self.curve.ravel()])

    def from_vector(self, vector: IntVector) -> Self:
        """Return a sketch with this one's parameters and the given sums."""
        return replace(self, n_images=int(vector[0]), curve=vector[1:].reshape(self.curve.shape))

    def sensitivity(self, images_per_patient: int) -> Mapping[str, Sensitivity]:
        """Return the sensitivities: one image adds 1 to the count and a clipped vector to the sums.

        Derivation: docs/privacy-sensitivity.md#cumulative-frequencies.

        Args:
            images_per_patient: How often the images of one patient are counted at most.

        Raises:
            PolicyError: If that is less than one.
        """
        k = require_cap(images_per_patient)
        clip = k * self.known.clips[self.n_levels - 1]
        l1 = whole(clip * math.sqrt(self.curve.size))
        return {"n_images": Sensitivity(k, k**2), "curve": Sensitivity(l1, clip**2)}

    def arrays(self) -> Arrays:
        """Return ``n_images`` int64 [1] and ``curve`` int64 [n_thresholds, n_features]."""
        return {"n_images": np.array([self.n_images], dtype=np.int64), "curve": self.curve}

    @classmethod
    def from_arrays(cls, arrays: Arrays, noise: Noise = EXACT) -> Self:
        """Read ``arrays()`` back; parameters come from the space."""
        if set(arrays) != {"n_images", "curve"}:
            raise FingerprintError(f"a cdf sketch cannot hold the arrays {sorted(arrays)}")
        n = int(require_integers(arrays["n_images"], (1,), "cdf counts")[0])
        sketch = cls(np.asarray(arrays["curve"]), n, noise=noise)
        fewest, largest = (-_MAX_IMAGES, _MAX_SUM) if noise else (0, n * SCALE)
        low, high = int(sketch.curve.min()), int(sketch.curve.max())
        if not (fewest <= n <= _MAX_IMAGES and -largest <= low and high <= largest):
            raise FingerprintError(f"a cdf sketch of {n} images holds sums that no images can have")
        return sketch

    def mean(self, n_levels: int) -> npt.NDArray[np.float64]:
        """Return float64 [n_thresholds, n_features]: mean centred frequencies of the first levels."""
        return np.asarray(self.curve[: n_thresholds(n_levels)] / (SCALE * float(max(self.n_images, 1))))

    @staticmethod
    def _levels_of(curve: npt.NDArray[Any]) -> int:
        return int(len(curve) + 1).bit_length() - 1


def _read(space: Space) -> CdfParameters:
    return CdfParameters.read(space.sketches.get(CdfSketch.kind, {}), space.edges)
