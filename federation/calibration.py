"""Bin edges that follow a cohort: quantiles of a pooled coarse histogram, with noise or without.

Three steps, each the simplest with a sound reason. Noisy counts are projected onto the histograms that can
be, which gives the most likely one under equal noise in every bin. Its cumulative curve is drawn towards that
of the public reference, by as much as noise may explain of what they differ: a cohort too small to say
anything leaves the public edges as they are. Quantiles are read off between the coarse edges.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from federation.errors import SpaceError, SpaceMismatchError
from federation.sketches import HistogramSketch
from federation.space import SKEW, Binning, Edges, Space, edges_from_reference, equal_width_edges

Curves = npt.NDArray[np.float64]
"""float64 [n_features, n_coarse + 1]: share of the images below every coarse edge, from 0 to 1."""

_OUTER = (0.05, 0.95)


@dataclass(frozen=True)
class Calibration:
    """Edges that follow a cohort, and how much they do.

    Args:
        edges: float64 [n_features, n_bins + 1], valid for a space.
        trust: float64 [n_features] from 0 to 1: how far edges follow the cohort and not the public images.
        shift: float64 [n_features]: how far the inner edges of a feature, which decide what counts where, lie
            from the public ones on average, in coarse bins.
    """

    edges: Edges
    trust: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]

    @property
    def n_public(self) -> int:
        """Number of features that keep their public edges, since noise explains all that is different."""
        return int((self.trust == 0).sum())

    @property
    def median_shift(self) -> float:
        """Median over features of how far their edges moved, in coarse bins."""
        return float(np.median(self.shift))


def coarse_edges(reference: npt.NDArray[Any], n_coarse: int) -> Edges:
    """Return the edges over which a cohort is asked for its histogram.

    Args:
        reference: float [n_images, n_features] of public images.
        n_coarse: Number of coarse bins, at least two.

    Returns:
        float64 [n_features, n_coarse + 1], equal-width between the 5 % and 95 % quantile.

    Raises:
        SpaceError: If there are fewer bins, or the reference is impossible.
    """
    if n_coarse < 2:
        raise SpaceError(f"{n_coarse} coarse bins tell nothing about quantiles", remedy="use 16 or more")
    return edges_from_reference(reference, n_coarse, "equal-width")


def calibrate(
    coarse: Space, pooled: HistogramSketch, reference: npt.NDArray[Any], n_bins: int, binning: Binning
) -> Calibration:
    """Return the edges that a cohort's histogram over coarse bins suggests.

    Args:
        coarse: The space of the histogram.
        pooled: The cohort's counts, exact or with noise.
        reference: float [n_images, n_features] of the public images that the coarse edges come from.
        n_bins: Number of bins.
        binning: As in `edges_from_reference`.

    Raises:
        SpaceError: If the reference is impossible or there are no bins.
        SpaceMismatchError: If the histogram is none of the coarse space.
    """
    if pooled.counts.shape != (coarse.n_features, coarse.n_bins):
        raise SpaceMismatchError(
            f"a histogram of {pooled.n_features} features × {pooled.n_bins} bins is none of coarse space "
            f"{coarse.space_id[:12]}, {coarse.n_features} × {coarse.n_bins}",
            remedy="calibrate with the space in which the cohort was asked",
        )
    public_edges = edges_from_reference(reference, n_bins, binning)
    public = _curves(HistogramSketch.from_features(reference, coarse.edges).frequencies())
    trust = _trust(pooled, public)
    cohort = _curves(nearest_histograms(pooled.frequencies()))
    curves = trust[:, None] * cohort + (1 - trust[:, None]) * public
    edges = np.where((trust > 0)[:, None], _edges(curves, coarse.edges, n_bins, binning), public_edges)
    unusable = edges[:, 0] >= edges[:, -1]  # beyond the precision of floating point
    edges[unusable], trust[unusable] = public_edges[unusable], 0.0
    return Calibration(edges, trust, _shift(edges, public_edges, coarse.edges))


def nearest_histograms(frequencies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the nearest rows without negative entries that sum to one.

    Among all histograms these are the most likely ones if every bin carries the same normal noise. Held,
    Wolfe and Crowder 1974, "Validation of subgradient optimization"; Duchi et al. 2008 (ICML), figure 1.

    Args:
        frequencies: float64 [n_features, n_bins], rows that sum to one.
    """
    falling = -np.sort(-frequencies, axis=1)
    excess = (np.cumsum(falling, axis=1) - 1) / np.arange(1, frequencies.shape[1] + 1)
    last = (falling > excess).sum(axis=1, keepdims=True) - 1
    lowered = frequencies - np.take_along_axis(excess, np.maximum(last, 0), axis=1)
    nearest: npt.NDArray[np.float64] = np.maximum(lowered, 0.0)
    return nearest


def _trust(pooled: HistogramSketch, public: Curves) -> npt.NDArray[np.float64]:
    """Return how far the curve of each feature deserves to replace the public one.

    This is the positive-part shrinkage of James and Stein (1961): one less the share of the squared
    difference that noise of variance s per bin explains. Rows balanced to one total make noise a bridge,
    whose variance after k of b bins is s·k(b − k)/b.
    """
    n, n_coarse = pooled.n, pooled.n_bins
    if n < 1:
        return np.zeros(pooled.n_features)
    inner = np.arange(1, n_coarse)
    noise = pooled.noise.get("counts", 0) / n**2 * (inner * (n_coarse - inner) / n_coarse).mean()
    if noise == 0:
        return np.ones(pooled.n_features)
    difference = _curves(pooled.frequencies())[:, 1:-1] - public[:, 1:-1]
    squared = np.maximum((difference**2).mean(axis=1), np.finfo(np.float64).tiny)
    return np.asarray(np.maximum(1 - noise / squared, 0.0))


def _curves(frequencies: npt.NDArray[np.float64]) -> Curves:
    below: Curves = np.cumsum(np.pad(frequencies, ((0, 0), (1, 0))), axis=1)
    return below


def _edges(curves: Curves, coarse: Edges, n_bins: int, binning: Binning) -> Edges:
    if binning != "equal-mass":
        low, high = _quantiles(curves, coarse, np.array(_OUTER)).T
        return equal_width_edges(low, high, n_bins, SKEW if binning == "skewed" else 1.0)
    edges = _quantiles(curves, coarse, np.arange(n_bins + 1) / n_bins)
    constant = edges[:, 0] >= edges[:, -1]
    edges[constant] = equal_width_edges(edges[constant, 0], edges[constant, -1], n_bins)
    return edges


def _quantiles(curves: Curves, coarse: Edges, fractions: npt.NDArray[np.float64]) -> Edges:
    """Return float64 [n_features, n_fractions], linear within coarse bins and never decreasing."""
    rows = [_inverse(curve, edges, fractions) for curve, edges in zip(curves, coarse, strict=True)]
    quantiles: Edges = np.maximum.accumulate(np.stack(rows), axis=1)
    return quantiles


def _inverse(
    curve: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], fractions: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    full = int(np.searchsorted(curve, curve[-1]))  # empty bins above hold no quantile
    reached = curve[: full + 1] / curve[-1]
    return np.asarray(np.interp(fractions, reached, edges[: full + 1]))


def _shift(edges: Edges, public: Edges, coarse: Edges) -> npt.NDArray[np.float64]:
    width = (coarse[:, -1] - coarse[:, 0]) / (coarse.shape[1] - 1)
    inner = slice(1, -1) if edges.shape[1] > 2 else slice(None)
    return np.asarray(np.abs(edges - public)[:, inner].mean(axis=1) / width)
