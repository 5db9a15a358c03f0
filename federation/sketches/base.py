"""One algebra for every sketch: integer vectors that sum over images, patients, cohorts and sites."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

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
