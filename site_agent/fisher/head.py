"""The linear classifier on frozen features whose Fisher information is measured."""

import threading
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from federation.errors import DataError

Features = npt.NDArray[np.float32]
_TOLERANCE = 1e-6  # of the objective's largest partial derivative
_ITERATIONS = 2000
_one_core = threading.Lock()
"""The number of BLAS threads belongs to the whole process: another site must not change it during a fit."""


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A softmax classifier.

    Args:
        weights: float64 [n_classes, n_features].
        biases: float64 [n_classes].
        classes: int64 [n_classes], the labels that its rows stand for, ascending.
        counts: int64 [n_classes], images of each class it was fitted to.
    """

    weights: npt.NDArray[np.float64]
    biases: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def fit(cls, features: Features, labels: npt.NDArray[np.int64], decay: float) -> Self:
        """Return the classifier that minimises class-balanced cross-entropy plus weight decay.

        Features are centred and scaled by one number, and both are folded into weights and biases. The decay
        keeps the optimum finite where classes are separable. The result is the same for any number of cores.

        Args:
            features: float32 [n_images, n_features].
            labels: int64 [n_images], one class per image.
            decay: λ of the objective: mean loss + λ/2 ‖W‖².

        Raises:
            DataError: If images have several labels or none, or there is only one class.
        """
        _check(features, labels)
        x = features.astype(np.float64)
        mean = x.mean(axis=0)
        # One spread for all: dividing a nearly dead feature by its own would let the few images that show it
        # outweigh all others.
        spread = float(np.sqrt(x.var(axis=0).mean())) or 1.0
        model = LogisticRegression(
            C=1 / (decay * len(x)), class_weight="balanced", tol=_TOLERANCE, max_iter=_ITERATIONS
        )
        with _one_core, threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
            # A head that stopped early is as deterministic, and its gradients are still those of a model.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit((x - mean) / spread, labels)
        weights, biases = _per_class(model)
        weights /= spread
        classes, counts = np.unique(labels, return_counts=True)
        return cls(weights, biases - weights @ mean, classes, counts)

    def rows(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the position of each label's class, int64 [n_images]."""
        return np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)

    @property
    def balance(self) -> npt.NDArray[np.float64]:
        """How much an image of each class counts, so that classes count alike; 1 on average over images."""
        return np.asarray(self.counts.sum() / (len(self.counts) * self.counts))

    @cached_property
    def products(self) -> npt.NDArray[np.float64]:
        """Inner products of the classes' weights, float64 [n_classes, n_classes]."""
        return np.asarray(np.einsum("cf,df->cd", self.weights, self.weights))

    def log_probabilities(self, features: Features) -> npt.NDArray[np.float64]:
        """Return float64 [n_images, n_classes] of float32 [n_images, n_features]."""
        # One product per image: a matrix product's rounding may depend on the number of rows.
        logits = np.einsum("nf,cf->nc", features.astype(np.float64), self.weights) + self.biases
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def _check(features: Features, labels: npt.NDArray[np.int64]) -> None:
    if labels.shape != (len(features),):
        raise DataError(
            f"labels have shape {list(labels.shape)} for {len(features)} images",
            remedy="Fisher information needs exactly one class per image",
        )
    if len(np.unique(labels)) < 2:
        raise DataError(
            "all images that were drawn belong to one class, so there is nothing to classify",
            remedy="draw more images, or leave the task out of spaces with a Fisher sketch",
        )


def _per_class(model: LogisticRegression) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return weights and biases of every class; the library keeps only the difference of two."""
    weights, biases = model.coef_, model.intercept_
    if len(biases) == 1:
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    return np.array(weights, np.float64), np.array(biases, np.float64)
