"""Integer histograms of every feature over bins that all sites share."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from federation.errors import FingerprintError, PolicyError, SpaceMismatchError
from federation.sketches.base import (
    EXACT,
    Arrays,
    IntVector,
    Noise,
    Sensitivity,
    Sketch,
    added_noise,
    require_cap,
    require_features,
    require_integers,
)
from federation.sketches.binning import Binner
from federation.space import Edges, Space

SUM_SCALE = 2**24
_INT64_MAX = float(2**63 - 1)
_MAX_COUNT = 2**53  # per row: sums stay exact in double precision and cannot wrap


@dataclass(frozen=True, eq=False)
class HistogramSketch(Sketch):
    """Counts per feature and bin, optionally with exact feature sums.

    Args:
        counts: int64 [n_features, n_bins], non-negative, every row summing to the number of images; with
            noise, neither holds.
        edges: float64 [n_features, n_bins + 1], or None for a sketch that is only compared, never updated.
        feature_sums: int64 [n_features], sums of features in units of 2^-24; only where exact means are
            wanted beside those that the bins give.
        noise: The noise in the arrays; empty for an exact sketch.

    Raises:
        FingerprintError: If the counts are no such array.
    """

    kind: ClassVar[str] = "histogram"
    shares: ClassVar[Mapping[str, Fraction]] = {"counts": Fraction(1)}

    counts: npt.NDArray[np.int64]
    edges: Edges | None = None
    feature_sums: npt.NDArray[np.int64] | None = None
    noise: Noise = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", _checked_counts(self.counts))
        if self.feature_sums is not None:
            object.__setattr__(self, "feature_sums", _checked_sums(self.feature_sums, self.n_features))
        if self.edges is not None and self.edges.shape != (self.n_features, self.n_bins + 1):
            raise SpaceMismatchError(
                f"histogram of {self.n_features} features × {self.n_bins} bins does not fit edges of shape "
                f"{list(self.edges.shape)}",
                remedy="use the space in which the histogram was made",
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HistogramSketch)
            and np.array_equal(self.to_vector(), other.to_vector())
            and self.counts.shape == other.counts.shape
            and _same(self.edges, other.edges)
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def zero(cls, edges: Edges, *, exact_means: bool = False) -> Self:
        """Return the sketch of no images.

        Args:
            edges: float64 [n_features, n_bins + 1] of the space.
            exact_means: Whether to keep exact feature sums as well.
        """
        counts = np.zeros((edges.shape[0], edges.shape[1] - 1), dtype=np.int64)
        sums = np.zeros(edges.shape[0], dtype=np.int64) if exact_means else None
        return cls(counts, edges, sums)

    @classmethod
    def from_features(cls, features: npt.NDArray[Any], edges: Edges, *, exact_means: bool = False) -> Self:
        """Return the sketch of float [n_images, n_features]."""
        return cls.zero(edges, exact_means=exact_means).update(features)

    @classmethod
    def for_space(cls, space: Space) -> Self:
        """Return the sketch of no images over the bins of a space."""
        return cls.zero(space.edges)

    def bind(self, space: Space) -> Self:
        """Return the same counts with the edges of their space."""
        return self.with_edges(space.edges)

    @property
    def n(self) -> int:
        """Number of images; under noise the mean of what the features' rows say."""
        if self.noise:
            return round(float(self.counts.sum() / self.n_features))
        return int(self.counts[0].sum())

    @cached_property
    def balanced(self) -> npt.NDArray[np.int64]:
        """int64 [n_features, n_bins], proportional to frequencies: every row has the same total.

        Noisy counts are projected onto the rows that sum to ``n``, which is the nearest such histogram, in
        units of 1/n_bins of an image so that they remain integers. They are not clipped: that would move
        distances in one direction.
        """
        if not self.noise:
            return self.counts
        rows = self.counts.sum(axis=1, keepdims=True)
        return np.asarray(self.n_bins * self.counts - rows + self.n, np.int64)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.counts.shape[0])

    @property
    def n_bins(self) -> int:
        """Number of bins per feature."""
        return int(self.counts.shape[1])

    def update(self, features: npt.NDArray[Any]) -> Self:
        """Return the sketch with more images.

        Args:
            features: float [n_images, n_features], finite.

        Raises:
            FingerprintError: If the features have the wrong length or hold NaN or infinity.
            SpaceMismatchError: If the sketch has no edges.
        """
        require_features(features, self.n_features)
        sums = self.feature_sums
        if sums is not None:
            sums = _safe_sum(sums, _fixed_sums(features))
        grown = replace(self, counts=self._binner.count(features, self.counts), feature_sums=sums)
        grown.__dict__["_binner"] = self._binner
        return grown

    def __add__(self, other: Self) -> Self:
        """Return the sketch of both sets of images."""
        if self.counts.shape != other.counts.shape or not _same(self.edges, other.edges):
            raise SpaceMismatchError(
                f"a histogram of {self.n_features} × {self.n_bins} and one of {other.n_features} × "
                f"{other.n_bins} bins (or with other edges) cannot be added",
                remedy="add histograms of one space",
            )
        if (self.feature_sums is None) != (other.feature_sums is None):
            raise SpaceMismatchError(
                "one histogram carries exact means and the other does not",
                remedy="make both with the same setting",
            )
        sums = self.feature_sums
        if sums is not None and other.feature_sums is not None:
            sums = _safe_sum(sums, other.feature_sums)
        noise = added_noise(self.noise, other.noise)
        return replace(self, counts=self.counts + other.counts, feature_sums=sums, noise=noise)

    def to_vector(self) -> IntVector:
        """Return counts, then feature sums where present, as one int64 vector."""
        parts = [self.counts.ravel()] + ([] if self.feature_sums is None else [self.feature_sums])
        return np.concatenate(parts)

    def from_vector(self, vector: IntVector) -> Self:
        """Return a sketch with this one's parameters and the given sums."""
        size = self.counts.size
        sums = None if self.feature_sums is None else vector[size:]
        return replace(self, counts=vector[:size].reshape(self.counts.shape), feature_sums=sums)

    def sensitivity(self, images_per_patient: int) -> Mapping[str, Sensitivity]:
        """Return the sensitivity of the counts: one image puts one count into each feature's histogram.

        The worst case for L2 is a patient whose images all fall into the same bins.

        Derivation: docs/privacy-sensitivity.md#histogram.

        Args:
            images_per_patient: How often the images of one patient are counted at most; an image that is
                drawn twice counts twice.

        Raises:
            PolicyError: If that is less than one, or if the sketch carries exact feature sums, which have
                no bound.
        """
        k = require_cap(images_per_patient)
        if self.feature_sums is not None:
            raise PolicyError(
                "exact feature means have no bounded sensitivity", remedy="derive means from the bins"
            )
        return {"counts": Sensitivity(self.n_features * k, self.n_features * k**2)}

    def arrays(self) -> Arrays:
        """Return ``counts`` and, where present, ``feature_sums``."""
        sums = {} if self.feature_sums is None else {"feature_sums": self.feature_sums}
        return {"counts": self.counts, **sums}

    @classmethod
    def from_arrays(cls, arrays: Arrays, noise: Noise = EXACT) -> Self:
        """Read ``arrays()`` back; edges come from the space."""
        if not {"counts"} <= set(arrays) <= {"counts", "feature_sums"}:
            raise FingerprintError(f"a histogram sketch cannot hold the arrays {sorted(arrays)}")
        sketch = cls(arrays["counts"], feature_sums=arrays.get("feature_sums"), noise=noise)
        if (np.abs(sketch.counts) > _MAX_COUNT // sketch.n_bins).any():
            raise FingerprintError(f"a histogram count is beyond {_MAX_COUNT // sketch.n_bins}")
        if noise:
            return sketch
        if (sketch.counts < 0).any():
            raise FingerprintError("a histogram count is negative")
        if (sketch.counts.sum(axis=1) != sketch.n).any():
            raise FingerprintError("histogram rows do not all sum to the same number of images")
        return sketch

    def with_edges(self, edges: Edges) -> Self:
        """Return the same counts with the edges of their space."""
        return replace(self, edges=edges)

    def coarsen(self, factor: int) -> Self:
        """Return the exact histogram over bins that are ``factor`` neighbouring bins of this one.

        Raises:
            SpaceMismatchError: If ``factor`` does not divide the number of bins.
        """
        if factor < 1 or self.n_bins % factor:
            raise SpaceMismatchError(f"{self.n_bins} bins cannot be merged in groups of {factor}")
        counts = np.einsum("fbk->fb", self.counts.reshape(self.n_features, -1, factor))
        edges = None if self.edges is None else self.edges[:, ::factor]
        noise = {name: factor * variance for name, variance in self.noise.items()}
        return replace(self, counts=counts, edges=edges, noise=noise or EXACT)

    def frequencies(self) -> npt.NDArray[np.float64]:
        """Return float64 [n_features, n_bins], every row summing to one (all zero without images)."""
        return self.balanced / max(self._total, 1)

    def mean_features(self) -> npt.NDArray[np.float64]:
        """Return float64 [n_features]: exact means where kept, else those of the bin centres.

        Without edges the bin range of every feature counts as [0, 1].
        """
        if self.feature_sums is not None:
            return self.feature_sums / (SUM_SCALE * float(max(self.n, 1)))
        counts = self.balanced.astype(np.float64)
        if self.edges is None:
            sums = counts @ ((np.arange(self.n_bins) + 0.5) / self.n_bins)
        else:
            lower, upper = self.edges[:, :-1], self.edges[:, 1:]
            sums = (np.einsum("fb,fb->f", counts, lower) + np.einsum("fb,fb->f", counts, upper)) / 2
        return np.asarray(sums / max(self._total, 1))

    @property
    def _total(self) -> int:
        """What every row of ``balanced`` sums to."""
        return self.n * self.n_bins if self.noise else self.n

    @cached_property
    def _binner(self) -> Binner:
        if self.edges is None:
            raise SpaceMismatchError(
                "this histogram has no bin edges to update with", remedy="attach them with with_edges()"
            )
        return Binner(self.edges)


def _checked_counts(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    counts = np.asarray(counts)
    if counts.ndim != 2 or 0 in counts.shape or not np.issubdtype(counts.dtype, np.integer):
        raise FingerprintError(
            f"histogram counts are {counts.dtype} of shape {list(counts.shape)}, expected integers of shape "
            "[features, bins]"
        )
    return counts.astype(np.int64, copy=False)


def _checked_sums(sums: npt.NDArray[Any], n_features: int) -> npt.NDArray[np.int64]:
    return require_integers(sums, (n_features,), "feature sums")


def _fixed_sums(features: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    with np.errstate(over="ignore"):
        scaled = np.rint(np.asarray(features, dtype=np.float64) * SUM_SCALE)
        _refuse_overflow(np.abs(scaled).sum(axis=0))
    sums: npt.NDArray[np.int64] = scaled.astype(np.int64).sum(axis=0)
    return sums


def _safe_sum(ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    _refuse_overflow(np.abs(ours.astype(np.float64)) + np.abs(theirs.astype(np.float64)))
    return ours + theirs


def _refuse_overflow(magnitude: npt.NDArray[np.float64]) -> None:
    if magnitude.max(initial=0) >= _INT64_MAX:
        raise FingerprintError(
            "feature sums would overflow 64 bits", remedy="sketch without exact means, or fewer images"
        )


def _same(ours: Edges | None, theirs: Edges | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return ours is theirs or np.array_equal(ours, theirs)
