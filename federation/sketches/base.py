"""One algebra for every sketch: integer vectors that sum over images, patients, cohorts and sites."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from federation.errors import FingerprintError, PolicyError, SpaceMismatchError
from federation.space import Edges, Parameters, Space

Arrays = Mapping[str, npt.NDArray[Any]]
IntVector = npt.NDArray[np.int64]
Noise = Mapping[str, int]
"""Name of an array → variance of the noise in each of its numbers; arrays without noise are not named."""
EXACT: Noise = MappingProxyType({})


@dataclass(frozen=True)
class Sensitivity:
    """How far one patient can move an array of a sketch (add or remove that patient).

    Whole numbers, rounded up, so that accounting is exact.

    Args:
        l1: No two neighbouring arrays are farther apart in L1.
        l2_squared: Nor is the square of their L2 distance larger than this.
    """

    l1: int
    l2_squared: int


class Sketch(ABC):
    """Additive sufficient statistic of a task in a space.

    Subclasses are frozen dataclasses: parameters plus integer arrays. ``a.update(x).update(y)`` equals
    ``a.update(x and y)`` and ``sketch(site 1) + sketch(site 2)`` equals the sketch of both, to the last bit.
    """

    kind: ClassVar[str]

    @property
    @abstractmethod
    def shares(self) -> Mapping[str, Fraction]:
        """Array → its share of what a private release of the sketch spends; they sum to one."""

    noise: Noise
    """The noise in the arrays; empty for an exact sketch."""

    @classmethod
    def parameters(cls, reference: npt.NDArray[Any], edges: Edges) -> Parameters:
        """Return the parameters that a new space fixes for this kind, by a public rule.

        Args:
            reference: float [n_images, n_features], features of public images that belong to no site.
            edges: float64 [n_features, n_bins + 1], the bin edges of the space.

        Raises:
            SpaceError: If the kind does not fit such features or bins.
        """
        del reference, edges
        return {}

    @classmethod
    def private_parameters(cls, reference: npt.NDArray[Any], edges: Edges) -> Parameters:
        """Return the parameters that a space for private release fixes, by a public rule as well.

        They bound what one image adds and count in units so coarse that the noise fits the sampler.

        Args:
            reference: float [n_images, n_features], features of public images that belong to no site.
            edges: float64 [n_features, n_bins + 1], the bin edges of the space.

        Raises:
            SpaceError: If the kind does not fit such features or bins.
        """
        return cls.parameters(reference, edges)

    @classmethod
    def require_size(cls, n_features: int) -> None:
        """Raise where this kind cannot sketch that many features, which a space learns before it is built.

        Raises:
            SpaceError: If there are too many.
        """
        del n_features

    @classmethod
    @abstractmethod
    def for_space(cls, space: Space) -> Self:
        """Return the sketch of no images, with the parameters that the space fixes for this kind.

        Raises:
            SpaceError: If they are missing or impossible.
        """

    def bind(self, space: Space) -> Self:
        """Return the same sums with the parameters of their space.

        Raises:
            SpaceMismatchError: If the sums do not fit the space.
        """
        zero = type(self).for_space(space)
        found, expected = self.to_vector(), zero.to_vector()
        if found.shape != expected.shape:
            raise SpaceMismatchError(
                f"a {self.kind} sketch of {found.size} numbers does not fit a space that gives it "
                f"{expected.size}",
                remedy="fingerprint the task again in that space",
            )
        return replace(zero.from_vector(found), noise=self.noise)  # type: ignore[type-var]

    def emptied(self) -> Self:
        """Return the exact sketch of no images with the same parameters."""
        nothing = self.from_vector(np.zeros_like(self.to_vector()))
        return replace(nothing, noise={})  # type: ignore[type-var]

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of images that were added."""

    @abstractmethod
    def update(self, features: npt.NDArray[Any]) -> Self:
        """Return the sketch with the images of float [n_images, n_features] added."""

    @abstractmethod
    def __add__(self, other: Self) -> Self:
        """Return the sketch of both sets of images.

        Raises:
            SpaceMismatchError: If the parameters differ.
        """

    @abstractmethod
    def to_vector(self) -> IntVector:
        """Return everything that is summed as one int64 vector."""

    @abstractmethod
    def from_vector(self, vector: IntVector) -> Self:
        """Return a sketch with this one's parameters and the given sums."""

    @abstractmethod
    def sensitivity(self, images_per_patient: int) -> Mapping[str, Sensitivity]:
        """Return how far one patient can move each of ``arrays()``.

        Args:
            images_per_patient: How often the images of one patient are counted at most.

        Raises:
            PolicyError: If that is less than one, or if nothing bounds what one image adds.
        """

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return the integer arrays by name, as a fingerprint stores them."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Arrays, noise: Noise = EXACT) -> Self:
        """Read what ``arrays`` returned, checking names, shapes, types and bounds.

        Args:
            arrays: Integer arrays by name.
            noise: The noise in them; noisy numbers may lie outside the bounds of exact ones.

        Raises:
            FingerprintError: If anything is missing, unknown or impossible.
        """


def require_features(features: npt.NDArray[Any], n_features: int) -> None:
    """Raise unless these are finite features of the expected length.

    Args:
        features: float [n_images, n_features].
        n_features: The expected length.

    Raises:
        FingerprintError: Otherwise.
    """
    if features.ndim != 2 or features.shape[1] != n_features:
        raise FingerprintError(
            f"features have shape {list(features.shape)}, expected [images, {n_features}]",
            remedy="use the extractor of the sketch's space",
        )
    if not np.isfinite(features).all():
        raise FingerprintError(
            "features hold NaN or infinity", remedy="check the extractor's weights and arithmetic"
        )


def require_integers(array: npt.NDArray[Any], shape: tuple[int, ...], what: str) -> IntVector:
    """Return an array as int64, checked to hold integers in the expected shape.

    Raises:
        FingerprintError: If it does not.
    """
    array = np.asarray(array)
    if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
        raise FingerprintError(
            f"{what} are {array.dtype} of shape {list(array.shape)}, expected integers {list(shape)}"
        )
    return array.astype(np.int64, copy=False)


def exact_sum(ours: IntVector, theirs: IntVector, what: str) -> IntVector:
    """Return the sum of two int64 arrays.

    Raises:
        FingerprintError: If a number would leave 64 bits.
    """
    total = ours + theirs
    if (((ours ^ total) & (theirs ^ total)) < 0).any():
        raise FingerprintError(f"{what} would overflow 64 bits", remedy="sketch fewer images")
    return total


def require_cap(images_per_patient: int) -> int:
    """Return the cap of images per patient, checked to bound something.

    Raises:
        PolicyError: If it is less than one.
    """
    if images_per_patient < 1:
        raise PolicyError(
            f"{images_per_patient} images per patient bound nothing", remedy="give a cap of at least 1"
        )
    return images_per_patient


def added_noise(ours: Noise, theirs: Noise) -> Noise:
    """Return the noise of a sum of two sketches whose noise is independent."""
    return {name: ours.get(name, 0) + theirs.get(name, 0) for name in sorted({*ours, *theirs})} or EXACT


def whole(bound: float) -> int:
    """Return a whole number that a bound computed in floating point cannot exceed."""
    return math.ceil(bound * (1 + 1e-12))
