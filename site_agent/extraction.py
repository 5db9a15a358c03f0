"""From images to exact sketches in streamed passes."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import numpy as np
import numpy.typing as npt

from federation.errors import DeadlineError, PolicyError
from federation.sampling import SamplingPlan
from federation.sketches import CdfSketch, FisherSketch, HistogramSketch, Sketch, zeros
from federation.stopping import CHECKPOINT, expected_images, is_enough
from site_agent.data.unreadable import BadImage
from site_agent.extractors import Extractor
from site_agent.fisher.task import HeadImages, estimate, head_images, n_passes, task_head
from site_agent.loading import ImageStream, Indices
from site_agent.passes import Passes
from site_agent.sketch_work import Sketched, Work, fisher_parameters
from site_agent.weighted_sketches import WeightedSketches


def _require_same_features_everywhere(extractor: Extractor) -> None:
    """Raise where one more image could change the features of those after it."""
    if not extractor.ignores_position:
        raise PolicyError(
            f"with {extractor.arithmetic} arithmetic an image's features depend on its place in a batch",
            remedy="set acceleration to 'off', or sketch this task on a machine without a GPU",
        )


def sketch(work: Work, extractor: Extractor, on_progress: Callable[[int, int], None]) -> Sketched:
    """Return the exact sketches of a dataset, streaming its images through the network.

    One pass gives everything that is made of features; Fisher information takes further passes.

    An adaptive plan stops at a checkpoint that depends on the images alone, however large the batches are
    and however far ahead they were read.

    Args:
        work: What to sketch.
        extractor: The network of the work's space.
        on_progress: Told how many images are done, of how many; of how many is foreseen where it is adaptive.

    Raises:
        DataError: If too many images are unreadable.
        DeadlineError: If the deadline passes first.
        PolicyError: If patients are bounded, but on this machine one could change another's features.
    """
    if work.patients is not None:
        _require_same_features_everywhere(extractor)
    stream = ImageStream(
        work.source,
        work.space.extractor.transform,
        work.sampling,
        batch_size=CHECKPOINT * max(1, -(-extractor.batch_size // CHECKPOINT)),
        max_unreadable=work.max_unreadable,
    )
    parameters = fisher_parameters(work.space)
    tell = on_progress if parameters is None else _first_half(on_progress)
    images, spent = head_images(parameters), dict[str, Fraction]()
    sample = _first_pass(work, stream, extractor, images, tell)
    n_draws = sample.n_draws if sample.is_enough else len(stream)
    bad, used, totals = stream.bad_among(n_draws), stream.used_among(n_draws), sample.sums.total()
    sketches = {kind: totals[kind] for kind in work.space.sketches if kind in totals}
    if parameters is not None:
        total = n_passes(parameters, n_draws)
        passes = Passes(stream, n_draws, work.deadline, total, on_progress)
        found = task_head(parameters, images, extractor.n_features, work.head_terms)
        sketches[FisherSketch.kind] = estimate(
            passes.following, extractor, found.head, parameters, total, work.weights
        )
        spent = {FisherSketch.kind: found.rho} if found.rho else {}
    on_progress(n_draws, n_draws)
    return replace(_sketched(work, sketches, bad, used, extractor.arithmetic), spent=spent)


def _sketched(
    work: Work, sketches: Mapping[str, Sketch], bad: tuple[BadImage, ...], used: Indices, arithmetic: str
) -> Sketched:
    """Return the sketches with what is known of the images used, int64 [n]."""
    bounds = work.patients
    if bounds is None:
        return Sketched(sketches, bad, arithmetic, len(used), len(np.unique(used)))
    n_patients = bounds.n_patients_among(used)
    return Sketched(sketches, bad, arithmetic, len(used), n_patients, bounds.weight, bounds.unit)


def _first_pass(
    work: Work,
    stream: ImageStream,
    extractor: Extractor,
    images: HeadImages | None,
    tell: Callable[[int, int], None],
) -> "_Sample":
    """Sketch everything that is made of features; features and labels of the images used go to the head."""
    sample, weights = _Sample(work.sampling, WeightedSketches(_feature_sketches(work))), work.weights
    tell(0, sample.expected_draws(len(stream)))
    with closing(iter(stream)) as batches:  # stopping early ends the decoding threads as well
        for batch in batches:
            if time.time() > work.deadline:
                expected = sample.expected_draws(len(stream))
                raise DeadlineError(f"the deadline passed after {sample.n_draws} of {expected} images")
            features = extractor(batch.images)
            counts = weights[batch.indices.numpy()]
            sample = sample.with_more(features, batch.draws.tolist(), counts)
            if images is not None:
                used = batch.draws.numpy() < sample.n_draws
                images.add(features[used], batch.labels.numpy()[used], counts[used])
            if sample.is_enough:
                break
            tell(sample.n_draws, sample.expected_draws(len(stream)))
    return sample


def _feature_sketches(work: Work) -> dict[str, Sketch]:
    """Return what is made of features, and the histogram that an adaptive plan reads in any space."""
    found = {kind: zero for kind, zero in zeros(work.space).items() if kind != FisherSketch.kind}
    if work.levels is not None and isinstance(cdf := found.get(CdfSketch.kind), CdfSketch):
        found[CdfSketch.kind] = CdfSketch.zero(cdf.known, work.levels)
    if work.sampling.tolerance is not None:
        found.setdefault(HistogramSketch.kind, HistogramSketch.for_space(work.space))
    return found


def _first_half(on_progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    return lambda done, total: on_progress(done // 2, total)


@dataclass(frozen=True)
class _Sample:
    """The images sketched so far, and whether they are enough.

    Args:
        plan: What to draw.
        sums: The sketches.
        n_draws: Draws used, those of unreadable images between them included.
        is_enough: Whether an adaptive plan stops here.
    """

    plan: SamplingPlan
    sums: WeightedSketches
    n_draws: int = 0
    is_enough: bool = False

    @property
    def histogram(self) -> HistogramSketch:
        """The histogram that the stopping rule of an adaptive plan reads."""
        return cast(HistogramSketch, self.sums.total()[HistogramSketch.kind])

    def expected_draws(self, available: int) -> int:
        """Return the draws in total, foreseen from those so far; unreadable images need no replacement."""
        if self.plan.tolerance is None:
            return available
        n_lost = self.n_draws - self.histogram.n
        return min(available, expected_images(self.plan, self.histogram, available) + n_lost)

    def with_more(
        self, features: npt.NDArray[np.float32], draws: Sequence[int], weights: Indices
    ) -> "_Sample":
        """Add features float [N, n_features] checkpoint by checkpoint, until there are enough."""
        tolerance, sample = self.plan.tolerance, self
        step = len(features) if tolerance is None else CHECKPOINT
        for start in range(0, len(features), step):
            part = slice(start, min(start + step, len(features)))
            sums = sample.sums.with_more(features[part], weights[part])
            sample = replace(sample, sums=sums, n_draws=draws[part.stop - 1] + 1)
            if tolerance is not None and is_enough(sample.histogram, tolerance):
                return replace(sample, is_enough=True)
        return sample
