"""From standing to gain: expected improvement over no transfer, its interval, the chance of harm.

At target t the gain of a source with predicted standing ẑ is modelled as spread_t · (location + slope·ẑ + r).
The spread is predicted from targets that resemble t. The residuals r are those of other targets, whose
standing and spread are predicted without their own outcomes, so that intervals hold for new targets:
cross-conformal prediction with targets as the exchangeable units (Vovk 2015; Barber et al., Annals of
Statistics 2021), except that location and slope, two numbers for a whole setting, are fitted once.
"""

from dataclasses import dataclass

import numpy as np

from aggregator.recommender import prior
from aggregator.recommender.evidence import Evidence, Indices
from aggregator.study import Floats

_SMALLEST_SPREAD = 1e-4
_SHARED = 0.25  # share of the variance of log spreads that resembling targets have in common
_PRIOR_ATOMS = 40
_SLOPE_PENALTY = 0.5
_TAIL = 0.05
_CLIP = 3.0  # one target with wild gains must not decide the slope


@dataclass(frozen=True)
class GainModel:
    """Gains at one target.

    Args:
        spread: Expected spread of gains among the target's sources.
        location: Gain of a source of average standing, in units of spread, before residuals.
        slope: Gain in units of spread per unit of standing.
        residuals: float64 [n], in increasing order, in units of spread.
        cumulative: float64 [n], share of residual mass up to and including each.
        n_targets: Number of measured targets behind it.
        bound: Largest gain that the metric allows.
    """

    spread: float
    location: float
    slope: float
    residuals: Floats
    cumulative: Floats
    n_targets: int
    bound: float

    @staticmethod
    def learn(evidence: Evidence, predicted: Floats, target: int) -> "GainModel":
        """Learn from every target but the given one and those that share its images.

        Args:
            evidence: The measurements.
            predicted: float64 [n_tasks, n_tasks], held-out standings; NaN where there is none.
            target: The target to be forecast.
        """
        return _learn(evidence, predicted, target)

    def gain(self, standing: Floats) -> Floats:
        """Return the expected gain at each standing.

        The rarest residuals count as the 5 % and 95 % quantile: one disaster must not speak for all targets.
        """
        residuals = np.clip(self.residuals, self._quantile(_TAIL), self._quantile(1 - _TAIL))
        mean = float(residuals @ np.diff(self.cumulative, prepend=0.0))
        return self._line(standing) + self.spread * mean

    def interval(self, standing: Floats, level: float) -> tuple[Floats, Floats]:
        """Return lower and upper ends that hold the gain with probability ``level``."""
        outside = (1 - level) / 2
        # A new target may lie beyond all measured ones: half of the finite-sample correction on each side.
        outside = max(outside - 0.5 * (1 - outside) / (self.n_targets + prior.WEIGHT), 0.0)
        low, high = self._quantile(outside), self._quantile(1 - outside)
        line = self._line(standing)
        ends = line + self.spread * low, line + self.spread * high
        return np.maximum(ends[0], -self.bound), np.minimum(ends[1], self.bound)

    def chance_of_harm(self, standing: Floats) -> Floats:
        """Return the probability of a gain below zero."""
        needed = -(self.location + self.slope * standing)
        place = np.searchsorted(self.residuals, needed, side="left")
        return np.asarray(np.concatenate([[0.0], self.cumulative])[place])

    def _line(self, standing: Floats) -> Floats:
        return np.asarray(self.spread * (self.location + self.slope * standing))

    def _quantile(self, share: float) -> float:
        place = min(int(np.searchsorted(self.cumulative, share)), len(self.residuals) - 1)
        return float(self.residuals[place])


@dataclass(frozen=True)
class _Target:
    """Gains and predicted standings of one measured target."""

    index: int
    gain: Floats
    predicted: Floats

    @property
    def median(self) -> float:
        return float(np.median(self.gain))

    @property
    def log_spread(self) -> float:
        return float(np.log(np.abs(self.gain - self.median).mean() + _SMALLEST_SPREAD))


def _learn(evidence: Evidence, predicted: Floats, target: int) -> GainModel:
    before = prior.gain_prior(evidence.setting)
    family = evidence.family(target)
    unit = _unit(evidence, family)
    measured = _measured(evidence, predicted, family, unit)
    spreads, spread = _spreads(evidence, measured, target, before)
    location = _pooled([m.median / s for m, s in zip(measured, spreads, strict=True)], before.location)
    slope = _slope(measured, spreads, before)
    atoms = [prior.residual_atoms(before, _PRIOR_ATOMS)]
    atoms += [m.gain / s - location - slope * m.predicted for m, s in zip(measured, spreads, strict=True)]
    weights = [np.full(_PRIOR_ATOMS, prior.WEIGHT / _PRIOR_ATOMS)]
    weights += [np.full(len(m.gain), 1.0 / len(m.gain)) for m in measured]
    residuals, weight = np.concatenate(atoms), np.concatenate(weights)
    order = np.argsort(residuals, kind="stable")
    cumulative = np.cumsum(weight[order]) / weight.sum()
    return GainModel(spread * unit, location, slope, residuals[order], cumulative, len(measured), bound=unit)


def _measured(evidence: Evidence, predicted: Floats, family: Indices, unit: float) -> list[_Target]:
    found = []
    for target in np.setdiff1d(evidence.targets, family):
        known = np.isfinite(evidence.gain[:, target]) & np.isfinite(predicted[:, target])
        if known.sum() >= 2:
            gain = evidence.gain[known, target] / unit
            found.append(_Target(int(target), gain, predicted[known, target]))
    return found


def _unit(evidence: Evidence, family: Indices) -> float:
    """The range of the metric: 1 for metrics between 0 and 1, else the range of what others measured."""
    others = np.delete(evidence.mean, family, axis=1)
    known = others[np.isfinite(others)]
    within = not len(known) or (known.min() >= 0 and known.max() <= 1)
    return 1.0 if within else float(np.ptp(known)) or 1.0


def _spreads(
    evidence: Evidence, measured: list[_Target], target: int, before: prior.GainPrior
) -> tuple[Floats, float]:
    """Return the spread of every measured target as predicted from the others, and that of the new one."""
    logarithms = np.array([m.log_spread for m in measured])
    middle = _pooled(list(logarithms), before.log_spread)
    if len(measured) < 2 or logarithms.std() == 0:
        return np.full(len(measured), np.exp(middle)), float(np.exp(middle))
    kernel = evidence.likeness
    at, variance = np.array([m.index for m in measured]), float(logarithms.var())
    covariance = _SHARED * kernel[np.ix_(at, at)] + (1 - _SHARED) * np.eye(len(at))
    precision = np.linalg.inv(covariance * variance)
    surprise = precision @ (logarithms - middle)
    others = logarithms - surprise / np.diag(precision)
    new = middle + _SHARED * variance * kernel[target, at] @ surprise
    return np.exp(others), float(np.exp(new))


def _slope(measured: list[_Target], spreads: Floats, before: prior.GainPrior) -> float:
    """Ridge regression of normalised gains on standing, towards the slope of the prior; never negative."""
    weight = prior.WEIGHT + _SLOPE_PENALTY
    product, square = before.slope * weight, weight
    for m, spread in zip(measured, spreads, strict=True):
        normalised = np.clip((m.gain - m.median) / spread, -_CLIP, _CLIP)
        product += float(normalised @ m.predicted) / len(m.gain)
        square += float(m.predicted @ m.predicted) / len(m.gain)
    return max(product / square, 0.0)


def _pooled(values: list[float], expected: float) -> float:
    n = len(values)
    return float((n * np.median(values) + prior.WEIGHT * expected) / (n + prior.WEIGHT)) if n else expected
