"""The Fisher sketch of a task: a head from the features of one pass, gradients from the next."""

from collections.abc import Callable, Iterator
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
from site_agent.fisher.public_head import public_head
from site_agent.fisher.variational import DRAWS, Variational
from site_agent.loading import Batch
from site_agent.weighted_sketches import WeightedSketches

HEAD_IMAGES = 20_000
"""Images that the head is fitted to at most; their features are the only thing that is kept per image."""

Pass = Callable[[], Iterator[Batch]]


class HeadImages:
    """Features and labels for the head: of all images, or of every k-th where there are very many.

    Which images are kept depends on their number alone, not on the batches they come in.
    """

    def __init__(self) -> None:
        self._stride, self._seen, self._kept = 1, 0, 0
        self._features: list[npt.NDArray[np.float32]] = []
        self._labels: list[npt.NDArray[np.int64]] = []

    def add(self, features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
        """Take the next images.

        Args:
            features: float32 [N, n_features].
            labels: int64 [N].
        """
        part = slice(-self._seen % self._stride, None, self._stride)
        self._features.append(features[part])
        self._labels.append(labels[part])
        self._seen += len(features)
        self._kept += len(labels[part])
        while self._kept > HEAD_IMAGES:
            self._features = [np.concatenate(self._features)[::2].copy()]
            self._labels = [np.concatenate(self._labels)[::2].copy()]
            self._stride, self._kept = 2 * self._stride, len(self._labels[0])

    def head(self, decay: float) -> LinearHead:
        """Return the classifier of these images.

        Raises:
            DataError: If they show fewer than two classes.
        """
        if not self._features:
            raise DataError("there are no images to classify")
        return LinearHead.fit(np.concatenate(self._features), np.concatenate(self._labels), decay)


def task_head(parameters: FisherParameters, images: HeadImages, n_features: int) -> LinearHead:
    """Return the classifier whose Fisher information is measured.

    Args:
        parameters: What the space fixes.
        images: What a head is fitted to; a public one takes none.
        n_features: Length of a feature vector.

    Raises:
        DataError: If a head has to be fitted and the images show fewer than two classes.
    """
    if parameters.head == "public":
        return public_head(parameters, n_features)
    return images.head(parameters.head_decay)


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
