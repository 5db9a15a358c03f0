"""AUROC, balanced accuracy and cross-entropy, with bootstrap intervals over patients.

Every metric is computed from weights per image, so that a resample of patients is a row of weights and all
resamples are computed together.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from federation.errors import TrainingError
from federation.transfer.result import AUROC, BALANCED_ACCURACY, CROSS_ENTROPY, Score
from site_agent.training.splits import require_classes
from site_agent.training.streams import random_words

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

RESAMPLES = 200
_LEVEL = 95.0
_AT_ONCE = 2**21  # weights in memory at a time


@dataclass(frozen=True)
class Measurement:
    """What was measured on a part of a task.

    Args:
        scores: Metric → score.
        n_measured: Images measured.
        n_classes: Number of classes of the task.
        n_train: Training images used.
        notes: What a reader of the figures should know.
    """

    scores: Mapping[str, Score]
    n_measured: int
    n_classes: int
    n_train: int
    notes: tuple[str, ...] = field(default=())


def scored(logits: npt.NDArray[np.float32], labels: Indices, owners: Indices, seed: int) -> dict[str, Score]:
    """Return every metric with its 95 % percentile interval over resampled patients.

    Args:
        logits: float32 [n, n_classes].
        labels: int64 [n].
        owners: int64 [n], whose image each is, numbered from 0.
        seed: Repetition.

    Raises:
        TrainingError: If the labels are of fewer than two classes, or a logit is not finite.
    """
    require_classes(labels, "measured")
    if not np.isfinite(logits).all():
        raise TrainingError("the network gives figures that are not finite", remedy="lower the learning rate")
    log_shares = _log_softmax(logits.astype(np.float64))
    metrics: dict[str, Callable[[Floats], Floats]] = {
        AUROC: _Auroc(np.exp(log_shares), labels),
        BALANCED_ACCURACY: _Recall(log_shares.argmax(1) == labels, labels),
        CROSS_ENTROPY: _Mean(-log_shares[np.arange(len(labels)), labels]),
    }
    whole = np.ones((1, len(labels)))
    drawn: dict[str, list[Floats]] = {name: [] for name in metrics}
    for weights in _resamples(owners, seed):
        for name, metric in metrics.items():
            drawn[name].append(metric(weights))
    return {
        name: _score(float(metric(whole)[0]), np.concatenate(drawn[name])) for name, metric in metrics.items()
    }


def auroc(shares: Floats, labels: Indices) -> float:
    """Return the area under the ROC curve, one class against the rest, weighted by prevalence.

    It is scikit-learn's ``roc_auc_score(multi_class="ovr", average="weighted")``, the mean over the classes
    that occur.

    Args:
        shares: float64 [n, n_classes], probabilities.
        labels: int64 [n], of at least two classes.
    """
    return float(_Auroc(shares, labels)(np.ones((1, len(labels))))[0])


class _Auroc:
    """Mann–Whitney statistics of every class against the rest; ties count half."""

    def __init__(self, shares: Floats, labels: Indices) -> None:
        self._classes = [_Ranked.of(shares[:, c], labels == c) for c in np.unique(labels)]

    def __call__(self, weights: Floats) -> Floats:
        """Return float64 [R] for weights [R, n]; NaN where a resample has one class."""
        areas, counts = zip(*(ranked.area(weights) for ranked in self._classes), strict=True)
        area, count = np.stack(areas), np.stack(counts)
        count = np.where(np.isnan(area), 0.0, count)
        return _quotient((np.nan_to_num(area) * count).sum(0), count.sum(0))


@dataclass(frozen=True, eq=False)
class _Ranked:
    """One class: images in ascending order of their probability, and where ties begin."""

    order: Indices
    positive: npt.NDArray[np.bool_]
    starts: Indices

    @classmethod
    def of(cls, shares: Floats, positive: npt.NDArray[np.bool_]) -> "_Ranked":
        order = np.argsort(shares, kind="stable")
        ascending = shares[order]
        starts = np.flatnonzero(np.r_[True, ascending[1:] > ascending[:-1]])
        return cls(order, positive[order], starts)

    def area(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the area under the curve and the weight of the class, each [R]."""
        ordered = weights[:, self.order]
        hits = np.add.reduceat(ordered * self.positive, self.starts, axis=1)
        misses = np.add.reduceat(ordered * ~self.positive, self.starts, axis=1)
        below = np.cumsum(misses, axis=1) - misses / 2
        n_hits, n_misses = hits.sum(1), misses.sum(1)
        return _quotient((hits * below).sum(1), n_hits * n_misses), n_hits


class _Recall:
    """Mean over classes of the share that is recognised."""

    def __init__(self, correct: npt.NDArray[np.bool_], labels: Indices) -> None:
        members = (labels[:, None] == np.unique(labels)).astype(np.float64)
        self._members, self._correct = members, members * correct[:, None]

    def __call__(self, weights: Floats) -> Floats:
        recalls = _quotient(weights @ self._correct, weights @ self._members)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            mean: Floats = np.nanmean(recalls, axis=1)
        return mean


class _Mean:
    """Mean over images."""

    def __init__(self, values: Floats) -> None:
        self._values = values

    def __call__(self, weights: Floats) -> Floats:
        return _quotient(weights @ self._values, weights.sum(1))


def _resamples(owners: Indices, seed: int) -> Iterator[Floats]:
    """Yield how often each image counts in resamples of patients with replacement, float64 [R, n]."""
    n_owners = int(owners.max()) + 1
    at_once = max(1, _AT_ONCE // max(len(owners), n_owners))
    drawn = random_words(RESAMPLES * n_owners, seed, "bootstrap") % np.uint64(n_owners)
    for part in np.split(drawn.reshape(RESAMPLES, -1).astype(np.int64), range(at_once, RESAMPLES, at_once)):
        counts = np.stack([np.bincount(row, minlength=n_owners) for row in part])
        yield counts[:, owners].astype(np.float64)


def _score(value: float, drawn: Floats) -> Score:
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, [50 - _LEVEL / 2, 50 + _LEVEL / 2]) if len(known) else (value, value)
    return Score(value=value, low=float(low), high=float(high))


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(1, keepdims=True)
    logarithms: Floats = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logarithms


def _quotient(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
