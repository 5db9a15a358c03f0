"""The mean of random Fourier features: a task's distribution as one point of a kernel's feature space."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt

from federation.errors import FingerprintError, SpaceError, SpaceMismatchError
from federation.kernels import Kernel, median_squared_distance
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
    require_integers,
    whole,
)
from federation.sketches.random_features import AMPLITUDE, RandomFeatures
from federation.space import Edges, Parameters, Space

DEFAULT_KERNEL: Kernel = "cauchy"
DEFAULT_N_RANDOM = 4096
PRIVATE_N_RANDOM = 512
PRIVATE_AMPLITUDE = 64
_MAX_IMAGES = 2**40


@dataclass(frozen=True, eq=False)
class MeanEmbeddingSketch(Sketch):
    """Sums of random Fourier features (Rahimi & Recht 2007) and the number of images.

    The squared distance of two means is the maximum mean discrepancy of the two tasks (Gretton et al. 2012)
    up to the error of the random features: no image, nor any feature vector, has to be exchanged for it.

    Args:
        sums: int64 [n_random], cosines first, then sines, in units of 1/amplitude.
        n_images: Number of images.
        random_features: What is summed, or None for a sketch that is only compared, never updated.
        noise: The noise in the arrays; empty for an exact sketch.

    Raises:
        FingerprintError: If the sums are no such array.
    """

    kind: ClassVar[str] = "mean-embedding"
    shares: ClassVar[Mapping[str, Fraction]] = {"n_images": Fraction(1, 5), "sums": Fraction(4, 5)}

    sums: IntVector
    n_images: int
    random_features: RandomFeatures | None = None
    noise: Noise = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_random = np.size(self.sums) if self.random_features is None else self.random_features.n_random
        object.__setattr__(self, "sums", require_integers(self.sums, (n_random,), "mean embedding sums"))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MeanEmbeddingSketch)
            and np.array_equal(self.to_vector(), other.to_vector())
            and self.random_features == other.random_features
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def parameters(cls, reference: npt.NDArray[Any], edges: Edges) -> Parameters:
        """Return the default kernel with the median squared distance of public features as bandwidth.

        Args:
            reference: float [n_images, n_features] of public images.
            edges: Not needed.
        """
        del edges
        return {
            "kernel": DEFAULT_KERNEL,
            "bandwidth": median_squared_distance(reference),
            "n_random": DEFAULT_N_RANDOM,
            "seed": 0,
        }

    @classmethod
    def private_parameters(cls, reference: npt.NDArray[Any], edges: Edges) -> Parameters:
        """Return parameters for private release: few random features, in coarse units.

        The noise of a release grows with the number of random features while the error of having no more of
        them falls; on 16 tasks of 300 to 1,000 images at ε = 1 the order of neighbours is best with 512 to
        1,024. An amplitude of 64 rounds each number by less than one percent, evenly either way, and keeps
        σ below 2^16 at a weight of 12 per patient.

        Args:
            reference: float [n_images, n_features] of public images.
            edges: Not needed.
        """
        return {
            **cls.parameters(reference, edges),
            "n_random": PRIVATE_N_RANDOM,
            "amplitude": PRIVATE_AMPLITUDE,
        }

    @classmethod
    def for_space(cls, space: Space) -> Self:
        """Return the sketch of no images, with the random features of a space.

        Raises:
            SpaceError: If a parameter is missing, unknown or impossible.
        """
        given = space.sketches.get(cls.kind, {})
        if set(given) - {"amplitude"} != {"kernel", "bandwidth", "n_random", "seed"}:
            raise SpaceError(
                f"a mean embedding has kernel, bandwidth, n_random and seed, not {sorted(given)}",
                remedy="build the space again",
            )
        whole_numbers = {name: given.get(name, AMPLITUDE) for name in ("n_random", "seed", "amplitude")}
        bandwidth = given["bandwidth"]
        if not all(isinstance(value, int) for value in whole_numbers.values()) or isinstance(bandwidth, str):
            raise SpaceError(
                f"a mean embedding of {whole_numbers} and bandwidth {bandwidth!r}",
                remedy="use numbers, whole ones for n_random, seed and amplitude",
            )
        kernel = cast(Kernel, given["kernel"])
        integers = cast(dict[str, int], whole_numbers)
        return cls.zero(RandomFeatures(space.n_features, kernel, float(bandwidth), **integers))

    def bind(self, space: Space) -> Self:
        """Return the same sums with the random features of their space.

        Raises:
            SpaceMismatchError: If the sums do not fit the space.
            FingerprintError: If no images of that space can have them.
        """
        bound = super().bind(space)
        if not bound.noise:
            bound._require_possible(bound.amplitude)
        return bound

    @classmethod
    def zero(cls, random_features: RandomFeatures) -> Self:
        """Return the sketch of no images."""
        return cls(np.zeros(random_features.n_random, dtype=np.int64), 0, random_features)

    @property
    def n(self) -> int:
        """Number of images."""
        return self.n_images

    def update(self, features: npt.NDArray[Any]) -> Self:
        """Return the sketch with more images.

        Args:
            features: float [n_images, n_features], finite.

        Raises:
            FingerprintError: If the features have the wrong length or hold NaN or infinity.
            SpaceMismatchError: If the sketch does not know its random features.
        """
        if self.random_features is None:
            raise SpaceMismatchError(
                "this mean embedding has no random features to update with",
                remedy="attach those of its space with bind()",
            )
        added = type(self)(self.random_features.sums(features), len(features), self.random_features)
        return self + added

    def __add__(self, other: Self) -> Self:
        """Return the sketch of both sets of images."""
        if self.random_features != other.random_features or self.sums.shape != other.sums.shape:
            raise SpaceMismatchError(
                f"mean embeddings of {self.random_features} and {other.random_features} cannot be added",
                remedy="add mean embeddings of one space",
            )
        sums = exact_sum(self.sums, other.sums, "mean embedding sums")
        n_images, noise = self.n_images + other.n_images, added_noise(self.noise, other.noise)
        return replace(self, sums=sums, n_images=n_images, noise=noise)

    def to_vector(self) -> IntVector:
        """Return the number of images, then the sums, as one int64 vector."""
        return np.concatenate([[self.n_images], self.sums])

    def from_vector(self, vector: IntVector) -> Self:
        """Return a sketch with this one's parameters and the given sums."""
        return replace(self, n_images=int(vector[0]), sums=vector[1:])

    def sensitivity(self, images_per_patient: int) -> Mapping[str, Sensitivity]:
        """Return the sensitivities: one image adds 1 to the count and one point of a circle per frequency.

        Both bounds are reached up to the rounding of the table of cosines: the L2 norm of every image is
        amplitude · √(n_random / 2), the L1 norm is largest where every phase is 45°.
        Derivation: docs/privacy-sensitivity.md#mean-embedding.

        Args:
            images_per_patient: How often the images of one patient are counted at most.

        Raises:
            PolicyError: If that is less than one.
            SpaceMismatchError: If the sketch does not know its random features.
        """
        k = require_cap(images_per_patient)
        if self.random_features is None:
            raise SpaceMismatchError("this mean embedding has no random features", remedy="bind() it first")
        l1, l2 = self.random_features.largest_image
        return {"n_images": Sensitivity(k, k**2), "sums": Sensitivity(whole(k * l1), whole((k * l2) ** 2))}

    def arrays(self) -> Arrays:
        """Return ``n_images`` int64 [1] and ``sums`` int64 [n_random]."""
        return {"n_images": np.array([self.n_images], dtype=np.int64), "sums": self.sums}

    @classmethod
    def from_arrays(cls, arrays: Arrays, noise: Noise = EXACT) -> Self:
        """Read ``arrays()`` back; the random features come from the space."""
        if set(arrays) != {"n_images", "sums"}:
            raise FingerprintError(f"a mean embedding cannot hold the arrays {sorted(arrays)}")
        n = int(require_integers(arrays["n_images"], (1,), "mean embedding counts")[0])
        sketch = cls(arrays["sums"], n, noise=noise)
        if not noise:
            sketch._require_possible(AMPLITUDE)
        return sketch

    def _require_possible(self, amplitude: int) -> None:
        n, sums = self.n_images, self.sums
        if not 0 <= n <= _MAX_IMAGES or (np.abs(sums) > n * amplitude).any():
            raise FingerprintError(
                f"a mean embedding of {n} images holds sums up to {np.abs(sums).max(initial=0)}, "
                f"at most {amplitude} per image are possible"
            )

    @property
    def amplitude(self) -> int:
        """What cos 0 counts as."""
        return AMPLITUDE if self.random_features is None else self.random_features.amplitude

    def mean(self) -> npt.NDArray[np.float64]:
        """Return float64 [n_random]: the mean embedding, with a norm of at most 1 (0 without images)."""
        return np.asarray(self.sums * (self.unit / max(self.n_images, 1)))

    @property
    def unit(self) -> float:
        """What one unit of a sum adds to the embedding of one image."""
        return 1 / (self.amplitude * math.sqrt(max(self.sums.size // 2, 1)))
