"""Thresholds in dyadic order, their public centre and clip norms: what a space fixes about cdf sketches."""

import base64
import binascii
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from federation.errors import SpaceError
from federation.sketches.base import IntVector
from federation.sketches.binning import Binner
from federation.space import Edges, Parameters

SCALE = 32
"""One image counts this much below a threshold; its centred indicator is a multiple of 1/SCALE."""
CLIP = 1.1
"""Clip norm as a multiple of the root mean square norm of the public reference."""
MOST_LEVELS = 4
_ROUNDING = 1 - 1e-12
_KEYS = {"centre", "clip", "clips"}


@dataclass(frozen=True, eq=False)
class CdfParameters:
    """What a space fixes: thresholds in dyadic order, their public centre, and a clip norm per level.

    Args:
        edges: float64 [n_features, n_bins + 1] of the space, n_bins a power of two; thresholds are the inner
            edges, level 1 the middle one, level 2 those at one and three quarters, and so on.
        centre: int64 [n_thresholds, n_features], the mean of SCALE · 1[x < threshold] over public images.
        clips: Largest L2 norm of an image's vector of 1, 2, … levels, in units of 1/SCALE.
        clip: Where they come from: the multiple of the reference's root mean square norm.
    """

    edges: Edges
    centre: IntVector
    clips: tuple[int, ...]
    clip: float = CLIP

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len(self.clips)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.centre.shape[1])

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """int64 [n_thresholds]: which inner edge each threshold is, counted from 1."""
        return dyadic_order(self.n_levels)

    @cached_property
    def binner(self) -> Binner:
        """Finds the bin of every value."""
        return Binner(self.edges)

    def vectors(self, features: npt.NDArray[Any], n_levels: int) -> npt.NDArray[np.int64]:
        """Return int64 [n_images, n_thresholds, n_features]: centred indicators, clipped.

        Args:
            features: float [n_images, n_features].
            n_levels: How many levels.
        """
        used = n_thresholds(n_levels)
        below = self.binner.bins(features)[:, None, :] < self.order[None, :used, None]
        vectors = SCALE * below.astype(np.float64) - self.centre[:used]
        squares, clip = np.einsum("ntf,ntf->n", vectors, vectors), self.clips[n_levels - 1]  # whole, exact
        factor = np.where(squares > clip**2, clip / np.sqrt(np.maximum(squares, 1)) * _ROUNDING, 1.0)
        # Rounding towards zero keeps every vector within the bound.
        return np.trunc(vectors * factor[:, None, None]).astype(np.int64)

    @classmethod
    def of_reference(cls, edges: Edges, reference: npt.NDArray[Any], clip: float = CLIP) -> Self:
        """Return the centre and the clip norms that public images give.

        Args:
            edges: float64 [n_features, n_bins + 1].
            reference: float [n_images, n_features] of public images.
            clip: Clip norm as a multiple of the root mean square norm of these images' vectors.

        Raises:
            SpaceError: If the number of bins is no power of two from 2 to 16.
        """
        levels = levels_of(edges.shape[1] - 1)
        order, bins = dyadic_order(levels), Binner(edges).bins(reference)
        mean = np.array([(bins < edge).mean(axis=0) for edge in order])
        per_threshold = np.einsum("tf->t", mean * (1 - mean))
        norms = [math.sqrt(per_threshold[: n_thresholds(level)].sum()) for level in range(1, levels + 1)]
        clips = tuple(max(1, math.ceil(SCALE * clip * norm)) for norm in norms)
        return cls(edges, np.rint(SCALE * mean).astype(np.int64), clips, clip)

    @classmethod
    def read(cls, given: Parameters, edges: Edges) -> Self:
        """Read what ``to_space`` returned.

        Args:
            given: The parameters.
            edges: float64 [n_features, n_bins + 1] of the space.

        Raises:
            SpaceError: If a parameter is missing, unknown or impossible.
        """
        levels = levels_of(edges.shape[1] - 1)
        centre, clip, clips = (given.get(key) for key in sorted(_KEYS))
        if set(given) != _KEYS or not (
            isinstance(centre, str) and isinstance(clips, str) and isinstance(clip, float) and 0 < clip < 1e3
        ):
            raise SpaceError(
                f"a cdf sketch has a centre, a clip and clips, not {sorted(given)} such as these",
                remedy="build the space again",
            )
        shape = (n_thresholds(levels), len(edges))
        norms = tuple(int(norm) if norm.isdecimal() else 0 for norm in clips.split(","))
        if len(norms) != levels or min(norms) < 1 or max(norms) > 2**31:
            raise SpaceError(f"clip norms {clips!r} do not fit {levels} levels", remedy="build it again")
        return cls(edges, _decoded(centre, shape), norms, clip)

    def to_space(self) -> Parameters:
        """Return the parameters as a space keeps them."""
        centre = base64.b64encode(self.centre.astype(np.uint8).tobytes()).decode()
        return {"centre": centre, "clip": float(self.clip), "clips": ",".join(map(str, self.clips))}


def n_thresholds(n_levels: int) -> int:
    """Return how many thresholds the first levels have together."""
    return int(2**n_levels) - 1


def dyadic_order(n_levels: int) -> npt.NDArray[np.int64]:
    """Return int64 [2^n_levels − 1]: inner edges from coarse to fine, counted from 1."""
    n_bins = 2**n_levels
    steps = [n_bins // 2**level for level in range(1, n_levels + 1)]
    return np.concatenate([np.arange(step, n_bins, 2 * step) for step in steps])


def levels_of(n_bins: int) -> int:
    """Return how many levels of thresholds that many bins have.

    Raises:
        SpaceError: If that is no power of two from 2 to 16.
    """
    levels = n_bins.bit_length() - 1
    if not 1 <= levels <= MOST_LEVELS or n_bins != 2**levels:
        raise SpaceError(
            f"a cdf sketch needs 2, 4, 8 or 16 bins, not {n_bins}",
            remedy="use bins = 2 or 4, few survive noise",
        )
    return levels


def _decoded(centre: str, shape: tuple[int, int]) -> IntVector:
    try:
        raw = base64.b64decode(centre, validate=True)
    except (ValueError, binascii.Error) as error:
        raise SpaceError("the centre of a cdf sketch is damaged", remedy="build the space again") from error
    if len(raw) != shape[0] * shape[1] or max(raw) > SCALE:
        raise SpaceError(f"the centre of a cdf sketch does not fit {list(shape)}", remedy="build it again")
    return np.frombuffer(raw, np.uint8).reshape(shape).astype(np.int64)
