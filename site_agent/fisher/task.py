"""The Fisher sketch of a task: a head from the features of one pass, gradients from the next."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from federation.errors import DataError
from federation.sketches.fisher import FisherSketch
from federation.sketches.fisher_parameters import FisherParameters
from site_agent.extractors import Extractor
from site_agent.fisher.head import LinearHead
from site_agent.fisher.montecarlo import MonteCarlo
from site_agent.fisher.private_head import (
    Examples,
    PrivateHead,
    fit_exact_head,
    fit_private_head,
    public_scale,
)
from site_agent.fisher.public_head import public_head
from site_agent.fisher.terms import HeadTerms
from site_agent.fisher.variational import DRAWS, Variational
from site_agent.loading import Batch
from site_agent.weighted_sketches import WeightedSketches

HEAD_IMAGES = 20_000
"""Images that the head is fitted to at most; their features are the only thing that is kept per image."""

Pass = Callable[[], Iterator[Batch]]


class HeadImages:
    """Features and labels for the head: of all images, or of every k-th where there are very many.

    Which images are kept depends on their number alone, not on the batches they come in.

    Args:
        limit: Images that are kept at most; None keeps all, so that nobody's depend on how many others
            there are.
    """

    def __init__(self, limit: int | None = HEAD_IMAGES) -> None:
        self._limit = limit
        self._counts: list[npt.NDArray[np.int64]] = []
        self._stride, self._seen, self._kept = 1, 0, 0
        self._features: list[npt.NDArray[np.float32]] = []
        self._labels: list[npt.NDArray[np.int64]] = []

    def add(
        self,
        features: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Take the next images.

        Args:
            features: float32 [N, n_features].
            labels: int64 [N].
            counts: int64 [N], how often each image counts, which only a private head heeds; None for once.
        """
        counts = np.ones(len(labels), np.int64) if counts is None else counts
        part = slice(-self._seen % self._stride, None, self._stride)
        self._features.append(features[part])
        self._labels.append(labels[part])
        self._counts.append(counts[part])
        self._seen += len(features)
        self._kept += len(labels[part])
        while self._limit is not None and self._kept > self._limit:
            self._features = [np.concatenate(self._features)[::2].copy()]
            self._labels = [np.concatenate(self._labels)[::2].copy()]
            self._counts = [np.concatenate(self._counts)[::2].copy()]
            self._stride, self._kept = 2 * self._stride, len(self._labels[0])

    def head(self, decay: float) -> LinearHead:
        """Return the classifier of these images.

        Raises:
            DataError: If they show fewer than two classes.
        """
        known = self.examples(0)
        return LinearHead.fit(known.features, known.labels, decay)

    def examples(self, n_classes: int) -> Examples:
        """Return what is known of these images.

        Raises:
            DataError: If there are none.
        """
        if not self._features:
            raise DataError("there are no images to classify")
        labels, counts = np.concatenate(self._labels), np.concatenate(self._counts)
        return Examples(np.concatenate(self._features), labels, counts, n_classes)


def head_images(parameters: FisherParameters | None) -> HeadImages | None:
    """Return where the images for a head are collected; None where no head is fitted."""
    if parameters is None or parameters.head == "public":
        return None
    return HeadImages(None if parameters.head == "dp" else HEAD_IMAGES)


def task_head(
    parameters: FisherParameters, images: HeadImages | None, n_features: int, terms: HeadTerms
) -> PrivateHead:
    """Return the classifier whose Fisher information is measured, and what its fit cost.

    Args:
        parameters: What the space fixes.
        images: What a head is fitted to, as ``head_images`` collects it; a public one takes none.
        n_features: Length of a feature vector.
        terms: What a private head needs to know.

    Raises:
        DataError: If a head has to be fitted and the images show fewer than two classes.
    """
    if images is None:
        return PrivateHead(public_head(parameters, n_features), Fraction(0))
    if parameters.head == "fitted":
        return PrivateHead(images.head(parameters.head_decay), Fraction(0))
    examples, scale = images.examples(terms.n_classes), public_scale(parameters, n_features)
    if not terms.rho:
        return PrivateHead(fit_exact_head(examples, scale), Fraction(0))
    return fit_private_head(examples, scale, terms.rho, weight=terms.weight)


def n_passes(parameters: FisherParameters, n_images: int) -> int:
    """Return how often ``estimate`` goes over the images of a task."""
    return max(2, -(-DRAWS // n_images)) if parameters.estimator == "variational" else 1


def estimate(
    next_pass: Pass,
    extractor: Extractor,
    head: LinearHead,
    parameters: FisherParameters,
    passes: int,
    weights: npt.NDArray[np.int64] | None = None,
) -> FisherSketch:
    """Return the Fisher sketch of a task.

    Args:
        next_pass: Starts another pass over the same images in the same order.
        extractor: The network.
        head: The task's classifier on its features.
        parameters: What the space fixes.
        passes: How many passes to take, see ``n_passes``.
        weights: int64 [n_source], how often each image of the source counts; None for once, as it always is
            in a variational estimate.
    """
    if parameters.estimator == "variational":
        return _variational(next_pass, Variational(extractor, head, parameters), parameters, passes)
    squares = MonteCarlo(extractor, head, parameters)
    sums = WeightedSketches({FisherSketch.kind: FisherSketch.zero(parameters)})
    for batch in next_pass():
        parts = (torch.split(part, extractor.portion) for part in (batch.images, batch.indices))
        for images, indices in zip(*parts, strict=True):
            counts = np.ones(len(images), np.int64) if weights is None else weights[indices.numpy()]
            sums = sums.with_more(squares(images), counts)
    return cast(FisherSketch, sums.total()[FisherSketch.kind])


def _variational(
    next_pass: Pass, learner: Variational, parameters: FisherParameters, passes: int
) -> FisherSketch:
    seen = 0
    for _ in range(passes):
        seen = learner.learn(next_pass())
    return FisherSketch.of_task(learner.precisions(), seen, parameters)
