"""One algebra for every sketch: integer vectors that sum over images, patients, cohorts and sites."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from federation.errors import SpaceMismatchError
from federation.space import Parameters, Space

Arrays = Mapping[str, npt.NDArray[Any]]
IntVector = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sensitivity:
    """How far one patient can move a sketch (add or remove that patient).

    Args:
        l1: Largest L1 distance between neighbouring sketches.
        l2: Largest L2 distance.
    """

    l1: float
    l2: float


class Sketch(ABC):
    """Additive sufficient statistic of a task in a space.

    Subclasses are frozen dataclasses: parameters plus integer arrays. ``a.update(x).update(y)`` equals
    ``a.update(x and y)`` and ``sketch(site 1) + sketch(site 2)`` equals the sketch of both, to the last bit.
    """

    kind: ClassVar[str]

    @classmethod
    def parameters(cls, reference: npt.NDArray[Any]) -> Parameters:
        """Return the parameters that a new space fixes for this kind, by a public rule.

        Args:
            reference: float [n_images, n_features], features of public images that belong to no site.
        """
        del reference
        return {}

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
        return zero.from_vector(found)

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
    def sensitivity(self, images_per_patient: int) -> Sensitivity:
        """Return how far one patient with at most that many images can move ``to_vector()``."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return the integer arrays by name, as a fingerprint stores them."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Read what ``arrays`` returned, checking names, shapes, types and bounds.

        Raises:
            FingerprintError: If anything is missing, unknown or impossible.
        """
