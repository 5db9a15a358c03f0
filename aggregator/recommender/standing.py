"""Which source stands where among a target's sources: a Gaussian process over (source, target) pairs.

The standing z of a source is its normal score among the target's sources. Its model is a crossed mixed model
with partial pooling,

    z(s, t) = b₀·x̄(s, t) + u_s + u_{s,t} + v(s) + v(s, t) + Σ_d b_d·x_d(s, t) + f(s)·c + noise,

where x_d is the nearness by distance d and x̄ its mean, or one chosen distance; u_s is what source s did for
every target and u_{s,t} the same for targets that resemble t; v are the same for whatever resembles or equals
the source; f are its facts. All terms are Gaussian with the variances of ``Components``, so that few outcomes
give small effects and none leave b₀·x̄: the order of the distances. Sources seen to pass on the same
architecture share what is known about it, including its chance result at one target.

Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.22-2.24; held-out predictions ibid.
eq. 5.12, for blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotri

from aggregator.recommender.evidence import Evidence, Indices
from aggregator.study import Floats, Mask

HISTORY, RELATIVES, IDENTICAL = "history", "relatives", "identical"
DISTANCE, FACTS = "distance", "facts"
"""The parts of a prediction that have a meaning in words."""


@dataclass(frozen=True)
class Components:
    """Variances of the terms; a standing has variance one.

    The values were set on the 28 development tasks of Godau et al. (arXiv 2412.08763), for all scenarios and
    metrics alike. Dividing or multiplying any of them by four moves the mean weighted tau there by less than
    0.005 (``python -m benchmarks.recommender``).

    Args:
        prior_slope: Mean effect of nearness before anything was measured.
        source: Effect of a source, at all targets and at similar targets alike.
        identical: Effect of an architecture or policy that several sources share.
        relatives: Effect of a source's neighbours.
        distance: Effect of nearness, divided among the distances.
        facts: Effect of a source's size and number of classes.
        shared_noise: Chance result of one architecture at one target.
        noise: Chance result of one pair.
    """

    prior_slope: float = 0.2
    source: float = 0.06
    identical: float = 0.03
    relatives: float = 0.06
    distance: float = 0.06
    facts: float = 0.06
    shared_noise: float = 0.12
    noise: float = 0.48


@dataclass(frozen=True)
class Terms:
    """Covariances between pairs, one factor at a time.

    Args:
        evidence: The tasks.
        identical: float64 [n_tasks, n_tasks] of ``Evidence.identical_sources``.
        components: The variances.
    """

    evidence: Evidence
    identical: Floats
    components: Components

    def prior_mean(self, sources: Indices, targets: Indices) -> Floats:
        """Return b₀·x̄ of pairs, float64 [n_pairs]."""
        return np.asarray(self.components.prior_slope * self.evidence.prior_nearness[sources, targets])

    def signal(self, a: tuple[Indices, Indices], b: tuple[Indices, Indices]) -> dict[str, Floats]:
        """Return the covariance of pairs ``a`` with pairs ``b`` by meaning, each float64 [n_a, n_b]."""
        c, task_kernel = self.components, self.evidence.resemblance
        like_target = 1.0 + task_kernel[np.ix_(a[1], b[1])]
        same_source = (a[0][:, None] == b[0][None, :]).astype(np.float64)
        facts = self.evidence.traits[a[0]] @ self.evidence.traits[b[0]].T
        return {
            HISTORY: c.source * same_source * like_target,
            RELATIVES: c.relatives * task_kernel[np.ix_(a[0], b[0])] * like_target,
            IDENTICAL: c.identical * self.identical[np.ix_(a[0], b[0])] * like_target,
            DISTANCE: self._nearness(*a) @ self._nearness(*b).T,
            FACTS: c.facts / 2 * facts * like_target,
        }

    def total(self, a: tuple[Indices, Indices], b: tuple[Indices, Indices]) -> Floats:
        """Return the covariance of pairs ``a`` with pairs ``b``, float64 [n_a, n_b]."""
        parts = list(self.signal(a, b).values())
        for part in parts[1:]:
            parts[0] += part
        return parts[0]

    def noise(self, pairs: tuple[Indices, Indices]) -> Floats:
        """Return the covariance of chance results, float64 [n_pairs, n_pairs]."""
        sources, targets = pairs
        same_target = targets[:, None] == targets[None, :]
        noise = self.components.shared_noise * same_target * self.identical[np.ix_(sources, sources)]
        noise[np.diag_indices_from(noise)] += self.components.noise
        return np.asarray(noise)

    def _nearness(self, sources: Indices, targets: Indices) -> Floats:
        nearness = self.evidence.nearness[:, sources, targets]
        return np.asarray(nearness.T * np.sqrt(self.components.distance / max(len(nearness), 1)))


@dataclass(frozen=True)
class Standing:
    """The model given some pairs.

    Args:
        terms: Covariances.
        sources: int64 [n_pairs].
        targets: int64 [n_pairs].
        observed: float64 [n_pairs], standings.
        precision: float64 [n_pairs, n_pairs], inverse covariance of the observations.
    """

    terms: Terms
    sources: Indices
    targets: Indices
    observed: Floats
    precision: Floats

    @classmethod
    def fit(cls, terms: Terms, kept: Mask | None = None) -> Self:
        """Learn from the measured pairs.

        Args:
            terms: Covariances.
            kept: bool [n_pairs] over ``evidence.pairs``, which of them to learn from; by default all.
        """
        evidence = terms.evidence
        sources, targets = evidence.pairs
        if kept is not None:
            sources, targets = sources[kept], targets[kept]
        pairs = (sources, targets)
        precision = _inverse(terms.total(pairs, pairs) + terms.noise(pairs))
        return cls(terms, sources, targets, evidence.standing[sources, targets], precision)

    @cached_property
    def surprise(self) -> Floats:
        """Precision times (observed − prior mean), float64 [n_pairs]."""
        prior = self.terms.prior_mean(self.sources, self.targets)
        return np.asarray(self.precision @ (self.observed - prior))

    def outcomes_of(self, family: Indices) -> Mask:
        """Return which pairs have a member of the family as their target."""
        return np.isin(self.targets, family)

    def without(self, family: Indices) -> "Standing":
        """Return the model that never saw an outcome of the family's members."""
        out = self.outcomes_of(family)
        if not out.any():
            return self
        kept = ~out
        across = self.precision[np.ix_(kept, out)]
        block = cho_factor(self.precision[np.ix_(out, out)], lower=True)
        precision = self.precision[np.ix_(kept, kept)] - across @ cho_solve(block, across.T)
        return Standing(self.terms, self.sources[kept], self.targets[kept], self.observed[kept], precision)

    def held_out(self, family: Indices) -> Floats:
        """Return the standings that the model without the family predicts for the family's outcomes.

        Returns:
            float64 [number of outcomes of the family], in their order.
        """
        out = self.outcomes_of(family)
        block = cho_factor(self.precision[np.ix_(out, out)], lower=True)
        return np.asarray(self.observed[out] - cho_solve(block, self.surprise[out]))

    def predict(self, sources: Indices, target: int) -> tuple[Floats, Floats, Mapping[str, Floats]]:
        """Return what is expected of sources at a target.

        Returns:
            Mean and standard deviation of the standing, float64 [n_sources] each, and the part of the mean
            that every meaning contributes.
        """
        new = (sources, np.full(len(sources), target))
        old = (self.sources, self.targets)
        signal = self.terms.signal(new, old)
        parts = {name: part @ self.surprise for name, part in signal.items()}
        parts[DISTANCE] = parts[DISTANCE] + self.terms.prior_mean(*new)
        across = sum(signal.values())
        own = np.diag(self.terms.total(new, new))
        explained = np.einsum("ab,ab->a", across @ self.precision, across)
        deviation = np.sqrt(np.maximum(own - explained, 0.0))
        return np.asarray(sum(parts.values())), np.asarray(deviation), parts


def _inverse(covariance: Floats) -> Floats:
    """Inverse of a symmetric positive definite matrix; a third of the work of solving for the identity."""
    if not len(covariance):
        return covariance
    factor, _ = cho_factor(covariance, lower=True, overwrite_a=True)
    lower, _ = dpotri(factor, lower=1)
    lower = np.tril(lower)
    lower += np.tril(lower, -1).T
    return np.asarray(lower)
