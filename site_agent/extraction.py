"""From images to exact sketches in streamed passes; what was sketched before is read back."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Self, cast

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json, sha256_hex
from federation.container import pack, unpack
from federation.errors import DeadlineError, FedprintError, PolicyError
from federation.files import read_file, write_atomically
from federation.privacy.mechanism import part_of_kind
from federation.sampling import SamplingPlan
from federation.sketches import (
    CdfSketch,
    FisherSketch,
    HistogramSketch,
    Sketch,
    decode_sketch,
    encode_arrays,
    zeros,
)
from federation.sketches.fisher_parameters import FisherParameters
from federation.space import Space
from federation.stopping import CHECKPOINT, expected_images, is_enough
from site_agent.data import ImageSource
from site_agent.extractors import Extractor
from site_agent.fisher.task import HeadImages, HeadTerms, estimate, head_images, n_passes, task_head
from site_agent.loading import BadImage, ImageStream, Indices
from site_agent.passes import Passes
from site_agent.patients import PatientSample, Unit
from site_agent.weighted_sketches import WeightedSketches

log = logging.getLogger("fedprint.site")

_COUNTS = ("n", "n_patients", "weight", "unit")  # what a kept file says of the images in it


@dataclass(frozen=True)
class Sketched:
    """The exact sketches of a task; they stay at the site unless a release lets them out.

    Args:
        sketches: Kind → sketch, every kind that the space names.
        unreadable: Images that were drawn and could not be read.
        arithmetic: How the network was executed.
        n: Number of images in the sketches, an image that was drawn twice counted twice.
        n_patients: Number of patients in the sketches; of images where nothing was bounded.
        weight: How often the images of one patient count together, at most.
        unit: Who moves a sketch by no more than ``weight`` images do.
        spent: Kind → ρ that went into what its sketch is made with; these sketches are of one release.
    """

    sketches: Mapping[str, Sketch]
    unreadable: tuple[BadImage, ...]
    arithmetic: str
    n: int
    n_patients: int
    weight: int = 1
    unit: Unit = "image"
    spent: Mapping[str, Fraction] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What to sketch and how.

    Args:
        source: The dataset.
        space: The space to work in.
        sampling: Which images to draw.
        max_unreadable: Largest share of unreadable images.
        deadline: Unix time after which the work is given up.
        patients: How the source was bounded, or None where every image counts once.
        levels: How many levels a cdf sketch has; None for all of the space.
        rho: What the release may spend that the sketches are for; 0 where they are not released with noise.

    Raises:
        PolicyError: If patients are bounded, but something else lets one of them change what others add.
    """

    source: ImageSource
    space: Space
    sampling: SamplingPlan
    max_unreadable: float
    deadline: float
    patients: PatientSample | None = None
    levels: int | None = None
    rho: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if self.patients is not None:
            _require_independence(self, self.patients)

    @classmethod
    def of_patients(
        cls,
        patients: PatientSample,
        space: Space,
        max_unreadable: float,
        deadline: float,
        levels: int | None = None,
        rho: Fraction = Fraction(0),
    ) -> Self:
        """Return the work of sketching bounded patients, every image of theirs once.

        Raises:
            PolicyError: If the space lets one patient change what others add.
        """
        plan = SamplingPlan(None)
        return cls(patients.source, space, plan, max_unreadable, deadline, patients, levels, rho)

    @property
    def weights(self) -> Indices:
        """How often each image of the source counts, int64 [n]."""
        return np.ones(len(self.source), np.int64) if self.patients is None else self.patients.weights

    @property
    def head_terms(self) -> HeadTerms:
        """What a private head is fitted under; the classes of a listing are public, as its columns are."""
        n_classes, fisher = len(self.source.class_names), fisher_parameters(self.space)
        if self.patients is None or fisher is None or fisher.head != "dp":
            return HeadTerms(n_classes)
        part = part_of_kind(self.rho, len(self.space.sketches))
        return HeadTerms(n_classes, self.patients.weight, part * Fraction(str(fisher.head_share)))

    def key(self, arithmetic: str) -> str:
        """Return the hash of everything that decides the bytes of the sketches."""
        parts = [self.space.space_id, self.source.digest(), asdict(self.sampling), arithmetic]
        bounded = [] if self.patients is None else [self.patients.digest(), self.levels]
        return sha256_hex(canonical_json(parts + bounded))


def _require_independence(work: Work, patients: PatientSample) -> None:
    """Raise where an image's share of a sketch would depend on which other images there are."""
    transform, fisher = work.space.extractor.transform, fisher_parameters(work.space)
    if patients.source is not work.source:
        raise PolicyError("the images are others than those that were bounded", remedy="bound them again")
    if work.sampling.n_images is not None or work.sampling.tolerance is not None:
        raise PolicyError(
            "a private sketch was to draw a sample, and who is drawn depends on who else is there",
            remedy="use every image of the bounded patients",
        )
    if transform.preprocessing != "deterministic":
        raise PolicyError(
            f"preprocessing {transform.preprocessing!r} crops at random by an image's position",
            remedy="use a space with preprocessing 'deterministic' for private sketches",
        )
    if fisher is not None and fisher.estimator == "variational":
        raise PolicyError(
            "the variational Fisher estimate is no sum over patients",
            remedy="use a space with the estimator 'montecarlo' for private sketches",
        )
    if fisher is not None and fisher.head == "fitted":
        raise PolicyError(
            "a head fitted to the labels is no sum over patients and has no noise",
            remedy="use a space whose Fisher head is 'public' or 'dp' for private sketches",
        )
    if fisher is not None and fisher.head == "dp" and work.rho <= 0:
        raise PolicyError(
            "a private head was to be fitted to bounded patients without a budget",
            remedy="say what the release may spend",
        )


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


def fisher_parameters(space: Space) -> FisherParameters | None:
    """Return how a space estimates Fisher information, None if it does not."""
    parameters = space.sketches.get(FisherSketch.kind)
    return None if parameters is None else FisherParameters.read(parameters)


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


def sketch_once(
    work: Work, extractor: Extractor, folder: Path, on_progress: Callable[[int, int], None]
) -> Sketched:
    """Return the sketches kept in ``folder`` if data and settings are unchanged, else make and keep it.

    What is made with noise is never kept: it belongs to the release that pays for it, and to no other.
    """
    if work.head_terms.rho:
        return sketch(work, extractor, on_progress)
    path = folder / f"{work.key(extractor.arithmetic)}.safetensors"
    kept = _read(path, work.space, extractor.arithmetic)
    if kept is None:
        kept = sketch(work, extractor, on_progress)
        write_atomically(path, _encode(kept))
    else:
        on_progress(kept.n, kept.n)
    return kept


def _encode(sketched: Sketched) -> bytes:
    header = {name: getattr(sketched, name) for name in _COUNTS}
    header["unreadable"] = [[bad.name, bad.reason] for bad in sketched.unreadable]
    return pack(header, encode_arrays(sketched.sketches))


def _read(path: Path, space: Space, arithmetic: str) -> Sketched | None:
    if not path.exists():
        return None
    try:
        header, arrays = unpack(read_file(path, "sketch"), "sketch")
        decoded = {kind: decode_sketch(kind, arrays) for kind in space.sketches}
        sketches = {kind: sketch.bind(space) for kind, sketch in decoded.items()}
        unreadable = tuple(BadImage(*bad) for bad in header["unreadable"])
        return Sketched(sketches, unreadable, arithmetic, **{name: header[name] for name in _COUNTS})
    except (FedprintError, KeyError, TypeError) as error:
        log.warning("the kept sketch %s is unusable and is made again: %s", path.name, error)
        return None
