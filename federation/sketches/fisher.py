"""Fixed-point sums over images of squared gradients: the diagonal Fisher information of a task."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from federation.errors import FingerprintError, PolicyError, SpaceError, SpaceMismatchError
from federation.sketches.base import (
    EXACT,
    Arrays,
    IntVector,
    Noise,
    Sensitivity,
    Sketch,
    added_noise,
    require_cap,
    whole,
)
from federation.sketches.fisher_parameters import FisherParameters
from federation.space import Edges, Parameters, Space

# Doubles this large are whole numbers far enough from 2^63 for their rounding.
_LIMIT = float(2**63 - 2**11)
_MAX_IMAGES = 2**53
_CHUNK = 2**13  # numbers of each image at a time, so that what is computed between stays in a core's cache


@dataclass(frozen=True, eq=False)
class FisherSketch(Sketch):
    """Σ over images of squared gradients of log p(y|x), averaged over kernel positions or filters.

    Every image is rounded by itself, so that sums over images and sites agree to the last bit.

    Args:
        sums: int64 [n_weights], in units of 2^-scale_bits.
        n_images: Number of images.
        parameters_of_space: What the space fixes, or None for a sketch that was only read.
        noise: The noise in the arrays; empty for an exact sketch.

    Raises:
        FingerprintError: If the sums are no such array.
        SpaceMismatchError: If they do not fit the parameters.
    """

    kind: ClassVar[str] = "fisher"
    shares: ClassVar[Mapping[str, Fraction]] = {"n_images": Fraction(1, 5), "sums": Fraction(4, 5)}

    sums: npt.NDArray[np.int64]
    n_images: int
    parameters_of_space: FisherParameters | None = None
    noise: Noise = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sums", _checked(self.sums))
        known = self.parameters_of_space
        if known is not None and known.layout.n_weights != len(self.sums):
            raise SpaceMismatchError(
                f"a Fisher sketch of {len(self.sums)} numbers does not fit a layout of "
                f"{known.layout.n_weights}",
                remedy="use the space in which the sketch was made",
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, FisherSketch)
            and np.array_equal(self.to_vector(), other.to_vector())
            and self.parameters_of_space == other.parameters_of_space
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def zero(cls, parameters: FisherParameters) -> Self:
        """Return the sketch of no images."""
        return cls(np.zeros(parameters.layout.n_weights, dtype=np.int64), 0, parameters)

    @classmethod
    def parameters(cls, reference: npt.NDArray[Any], edges: Edges) -> Parameters:
        """Raise, because the layers cannot be told from features.

        Raises:
            SpaceError: Always; a space takes the parameters from the network.
        """
        del reference, edges
        raise SpaceError("the layers of a Fisher sketch come from the network, not from features")

    @classmethod
    def for_space(cls, space: Space) -> Self:
        """Return the sketch of no images, with the parameters of a space."""
        return cls.zero(FisherParameters.read(space.sketches[cls.kind]))

    @classmethod
    def of_task(cls, embedding: npt.NDArray[Any], n_images: int, parameters: FisherParameters) -> Self:
        """Return the sketch of an estimate that exists only for a whole task, such as the variational one.

        It holds n_images times the estimate, so that adding sketches gives the mean over all images of the
        tasks' estimates.

        Args:
            embedding: float [n_weights], non-negative.
            n_images: Number of images it was estimated from.
            parameters: What the space fixes.
        """
        empty = cls.zero(parameters)
        weighted = np.asarray(embedding, np.float64)[None] * n_images
        return replace(empty, sums=_added(empty.sums, weighted, parameters), n_images=n_images)

    @property
    def n(self) -> int:
        """Number of images."""
        return self.n_images

    @property
    def known(self) -> FisherParameters:
        """What the space fixes.

        Raises:
            SpaceMismatchError: If the sketch was only read.
        """
        if self.parameters_of_space is None:
            raise SpaceMismatchError(
                "this Fisher sketch does not know its layers", remedy="bind the fingerprint to its space"
            )
        return self.parameters_of_space

    def update(self, features: npt.NDArray[Any]) -> Self:
        """Return the sketch with more images.

        Args:
            features: float [n_images, n_weights], squared gradients averaged as the granularity says.

        Raises:
            FingerprintError: If they have another length, are negative or no numbers, or overflow.
        """
        values = np.asarray(features)
        if values.ndim != 2 or values.shape[1] != len(self.sums):
            raise FingerprintError(
                f"squared gradients have shape {list(values.shape)}, expected [images, {len(self.sums)}]",
                remedy="use the network of the sketch's space",
            )
        sums = _added(self.sums, values, self.known)
        return replace(self, sums=sums, n_images=self.n_images + len(values))

    def __add__(self, other: Self) -> Self:
        """Return the sketch of both sets of images."""
        if len(self.sums) != len(other.sums) or self.parameters_of_space != other.parameters_of_space:
            raise SpaceMismatchError(
                f"Fisher sketches of {len(self.sums)} and {len(other.sums)} numbers, or of other "
                "parameters, cannot be added",
                remedy="add sketches of one space",
            )
        n_images, noise = self.n_images + other.n_images, added_noise(self.noise, other.noise)
        return replace(self, sums=_safe_sum(self.sums, other.sums[None]), n_images=n_images, noise=noise)

    def to_vector(self) -> IntVector:
        """Return the number of images, then the sums, as one int64 vector."""
        return np.concatenate([np.array([self.n_images], np.int64), self.sums])

    def from_vector(self, vector: IntVector) -> Self:
        """Return a sketch with this one's parameters and the given sums."""
        return replace(self, sums=vector[1:], n_images=int(vector[0]))

    def sensitivity(self, images_per_patient: int) -> Mapping[str, Sensitivity]:
        """Return the sensitivities, the head being given.

        One image adds one to the count, and a vector of at most the clip's length to the sums; what it adds
        depends on nothing but itself and the head. A head that was fitted to the same patients without
        protection of its own moves the gradients of every image, which no clip bounds.

        Derivation: docs/privacy-sensitivity.md#fisher-information.

        Args:
            images_per_patient: How often the images of one patient are counted at most.

        Raises:
            PolicyError: If that is less than one, images are not clipped, or the head is fitted.
        """
        k = require_cap(images_per_patient)
        if self.known.head == "fitted":
            raise PolicyError(
                "a Fisher sketch whose head is fitted to the labels without noise has no bounded sensitivity",
                remedy="use a space whose Fisher head is 'public'; `[space] private = true` chooses it",
            )
        if not self.known.clip:
            raise PolicyError(
                "squared gradients have no bounded sensitivity", remedy="use a space whose Fisher clip is set"
            )
        units = k * self.known.clip * 2.0**self.known.scale_bits
        l1 = whole(units * np.sqrt(len(self.sums)))
        return {"n_images": Sensitivity(k, k**2), "sums": Sensitivity(l1, whole(units**2))}

    def arrays(self) -> Arrays:
        """Return ``sums`` and ``n_images``."""
        return {"sums": self.sums, "n_images": np.array([self.n_images], np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Arrays, noise: Noise = EXACT) -> Self:
        """Read ``arrays()`` back; parameters come from the space."""
        if set(arrays) != {"sums", "n_images"}:
            raise FingerprintError(f"a Fisher sketch cannot hold the arrays {sorted(arrays)}")
        n = np.asarray(arrays["n_images"])
        possible = bool(noise) or (n.shape == (1,) and 0 <= n[0] <= _MAX_IMAGES)
        if n.shape != (1,) or not np.issubdtype(n.dtype, np.integer) or not possible:
            raise FingerprintError("a Fisher sketch does not say from how many images it was made")
        sketch = cls(arrays["sums"], int(n[0]), noise=noise)
        if not noise and (sketch.sums < 0).any():
            raise FingerprintError("a sum of squared gradients is negative")
        return sketch

    def embedding(self) -> npt.NDArray[np.float64]:
        """Return float64 [n_weights], the mean over images (all zero without images)."""
        return self.sums / (2.0**self.known.scale_bits * max(self.n_images, 1))

    def filter_embedding(self) -> npt.NDArray[np.float64]:
        """Return float64 [n_filters], the mean over images and over the inputs of every filter."""
        return self.known.layout.mean_over_inputs(self.embedding())


def _added(
    sums: npt.NDArray[np.int64], values: npt.NDArray[Any], parameters: FisherParameters
) -> npt.NDArray[np.int64]:
    """Return the sums with float [n_images, n_weights] added in units, every image clipped and rounded."""
    scale, down = 2.0**parameters.scale_bits, None
    if parameters.clip:
        norms = np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
        bound = parameters.clip * (1 - 1e-12)
        down = bound / np.maximum(norms, bound)
    grown = np.empty_like(sums)
    for start in range(0, len(sums), _CHUNK):
        part = slice(start, start + _CHUNK)
        scaled = values[:, part].astype(np.float64)
        # Written so that a NaN fails.
        if not (scaled.min(initial=0.0) >= 0 and scaled.max(initial=0.0) < np.inf):
            raise FingerprintError(
                "squared gradients are negative, NaN or infinite",
                remedy="check the network's weights and arithmetic",
            )
        scaled *= scale
        if down is None:
            np.rint(scaled, out=scaled)
        else:
            # Rounding down keeps every image within the bound.
            np.floor(np.multiply(scaled, down, out=scaled), out=scaled)
        grown[part] = _safe_sum(sums[part], scaled)
    return grown


def _safe_sum(ours: npt.NDArray[np.int64], more: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the sums with rows of whole numbers added, exactly."""
    if (np.abs(ours.astype(np.float64)) + np.abs(more.astype(np.float64)).sum(axis=0)).max(
        initial=0.0
    ) >= _LIMIT:
        raise FingerprintError(
            "sums of squared gradients would overflow 64 bits",
            remedy="use a space with fewer scale bits, or fewer images",
        )
    return np.asarray(ours + more.astype(np.int64).sum(axis=0))


def _checked(sums: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    sums = np.asarray(sums)
    if sums.ndim != 1 or not len(sums) or not np.issubdtype(sums.dtype, np.integer):
        raise FingerprintError(
            f"Fisher sums are {sums.dtype} of shape {list(sums.shape)}, expected integers [weights]"
        )
    return sums.astype(np.int64, copy=False)
