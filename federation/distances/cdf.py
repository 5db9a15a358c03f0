"""The Cramér distance at a few thresholds, from sketches that are made for noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from federation.distances.base import Comparable, Distance, Matrix
from federation.distances.noise import Covariance, NoiseModel, without_noise
from federation.distances.sketched import sketch_pair
from federation.sketches import CdfSketch, Sketch
from federation.sketches.cdf_parameters import SCALE


class CurveNoise(NoiseModel):
    """Every threshold of every feature carries independent noise."""

    array: ClassVar[str] = "curve"

    def covariance(self, sketch: Sketch) -> Covariance:
        """Return Σ = I / (SCALE² size): the distance is a mean over all numbers of the curve."""
        size = cast(CdfSketch, sketch).curve.size
        unit = 1 / (SCALE**2 * size)
        return Covariance(size * unit, size * unit**2, unit)


@dataclass(frozen=True, kw_only=True)
class ThresholdDistance(Distance):
    """Mean over features and thresholds of (C_s − C_t)², with C cumulative frequencies.

    Two tasks are compared at the thresholds that both have. What noise adds on average is subtracted, so that
    a small distance between noisy tasks can come out negative.
    """

    needs: str = CdfSketch.kind

    def matrix(self, sources: Sequence[Comparable], targets: Sequence[Comparable]) -> Matrix:
        """Return float64 [n_sources, n_targets]: the distance of every source to every target."""
        values = np.zeros((len(sources), len(targets)))
        if not values.size:
            return values
        ours, theirs = sketch_pair(sources, targets, CdfSketch, lambda sketch: sketch.curve.shape[1])
        for a in sorted({sketch.n_levels for sketch in ours}):
            for b in sorted({sketch.n_levels for sketch in theirs}):
                rows = np.flatnonzero([sketch.n_levels == a for sketch in ours])
                columns = np.flatnonzero([sketch.n_levels == b for sketch in theirs])
                left, right = [ours[i] for i in rows], [theirs[j] for j in columns]
                values[np.ix_(rows, columns)] = _between(left, right, min(a, b))
        return without_noise(self.noise_model, values, ours, theirs)


def _between(sources: list[CdfSketch], targets: list[CdfSketch], n_levels: int) -> Matrix:
    x, y = (np.array([s.mean(n_levels).ravel() for s in side]) for side in (sources, targets))
    values = x @ (-2 * y.T)
    values += np.einsum("sd,sd->s", x, x)[:, None]
    values += np.einsum("td,td->t", y, y)
    return np.asarray(np.maximum(values, 0.0) / x.shape[1])


CDF_L2 = ThresholdDistance(
    name="cdf-l2",
    formula="(C_s − C_t)², C = centred, clipped cumulative frequencies; mean over thresholds and features",
    origin="Cramér distance (Székely 2003) by quadrature",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    noise="what it adds on average is subtracted; made for noise, and the most accurate under it",
    noise_model=CurveNoise(),
)
