"""From images to exact sketches in one streamed pass; what was sketched before is read back."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json, sha256_hex
from federation.container import pack, unpack
from federation.errors import DeadlineError, FedprintError
from federation.files import read_file, write_atomically
from federation.sampling import SamplingPlan
from federation.sketches import HistogramSketch, Sketch, decode_sketch, encode_arrays, zeros
from federation.space import Space
from federation.stopping import CHECKPOINT, expected_images, is_enough
from site_agent.data import ImageSource
from site_agent.extractors import Extractor
from site_agent.loading import BadImage, ImageStream

log = logging.getLogger("fedprint.site")


@dataclass(frozen=True)
class Sketched:
    """The exact sketches of a task; they stay at the site unless a release lets them out.

    Args:
        sketches: Kind → sketch, every kind that the space names.
        unreadable: Images that were drawn and could not be read.
        arithmetic: How the network was executed.
    """

    sketches: Mapping[str, Sketch]
    unreadable: tuple[BadImage, ...]
    arithmetic: str

    @property
    def n(self) -> int:
        """Number of images in the sketches."""
        return self.sketches["histogram"].n


@dataclass(frozen=True)
class Work:
    """What to sketch and how.

    Args:
        source: The dataset.
        space: The space to work in.
        sampling: Which images to draw.
        max_unreadable: Largest share of unreadable images.
        deadline: Unix time after which the work is given up.
    """

    source: ImageSource
    space: Space
    sampling: SamplingPlan
    max_unreadable: float
    deadline: float

    def key(self, arithmetic: str) -> str:
        """Return the hash of everything that decides the bytes of the sketches."""
        parts = [self.space.space_id, self.source.digest(), asdict(self.sampling), arithmetic]
        return sha256_hex(canonical_json(parts))


def sketch(work: Work, extractor: Extractor, on_progress: Callable[[int, int], None]) -> Sketched:
    """Return the exact sketches of a dataset, streaming its images through the network once.

    An adaptive plan stops at a checkpoint that depends on the images alone, however large the batches are
    and however far ahead they were read.

    Args:
        work: What to sketch.
        extractor: The network of the work's space.
        on_progress: Told how many images are done, of how many; of how many is foreseen where it is adaptive.

    Raises:
        DataError: If too many images are unreadable.
        DeadlineError: If the deadline passes first.
    """
    stream = ImageStream(
        work.source,
        work.space.extractor.transform,
        work.sampling,
        batch_size=CHECKPOINT * max(1, -(-extractor.batch_size // CHECKPOINT)),
        max_unreadable=work.max_unreadable,
    )
    sample = _Sample(work.sampling, zeros(work.space))
    on_progress(0, sample.expected_draws(len(stream)))
    with closing(iter(stream)) as batches:  # stopping early ends the decoding threads as well
        for batch in batches:
            if time.time() > work.deadline:
                expected = sample.expected_draws(len(stream))
                raise DeadlineError(f"the deadline passed after {sample.n_draws} of {expected} images")
            sample = sample.with_more(extractor(batch.images), batch.draws.tolist())
            if sample.is_enough:
                break
            on_progress(sample.n_draws, sample.expected_draws(len(stream)))
    n_draws = sample.n_draws if sample.is_enough else len(stream)
    bad = stream.bad_among(n_draws)
    on_progress(n_draws, n_draws)
    return Sketched(sample.sketches, bad, extractor.arithmetic)


@dataclass(frozen=True)
class _Sample:
    """The images sketched so far, and whether they are enough.

    Args:
        plan: What to draw.
        sketches: Kind → sketch.
        n_draws: Draws used, those of unreadable images between them included.
        is_enough: Whether an adaptive plan stops here.
    """

    plan: SamplingPlan
    sketches: Mapping[str, Sketch]
    n_draws: int = 0
    is_enough: bool = False

    @property
    def histogram(self) -> HistogramSketch:
        """The histogram, which every space has and the stopping rule reads."""
        return cast(HistogramSketch, self.sketches[HistogramSketch.kind])

    def expected_draws(self, available: int) -> int:
        """Return the draws in total, foreseen from those so far; unreadable images need no replacement."""
        n_lost = self.n_draws - self.histogram.n
        return min(available, expected_images(self.plan, self.histogram, available) + n_lost)

    def with_more(self, features: npt.NDArray[np.float32], draws: Sequence[int]) -> "_Sample":
        """Add features float [N, n_features] checkpoint by checkpoint, until there are enough."""
        tolerance, sample = self.plan.tolerance, self
        step = len(features) if tolerance is None else CHECKPOINT
        for start in range(0, len(features), step):
            part = slice(start, min(start + step, len(features)))
            sketches = {kind: sketch.update(features[part]) for kind, sketch in sample.sketches.items()}
            sample = replace(sample, sketches=sketches, n_draws=draws[part.stop - 1] + 1)
            if tolerance is not None and is_enough(sample.histogram, tolerance):
                return replace(sample, is_enough=True)
        return sample


def sketch_once(
    work: Work, extractor: Extractor, folder: Path, on_progress: Callable[[int, int], None]
) -> Sketched:
    """Return the sketches kept in ``folder`` if data and settings are unchanged, else make and keep it."""
    path = folder / f"{work.key(extractor.arithmetic)}.safetensors"
    kept = _read(path, work.space, extractor.arithmetic)
    if kept is None:
        kept = sketch(work, extractor, on_progress)
        write_atomically(path, _encode(kept))
    else:
        on_progress(kept.n, kept.n)
    return kept


def _encode(sketched: Sketched) -> bytes:
    header = {"unreadable": [[bad.name, bad.reason] for bad in sketched.unreadable]}
    return pack(header, encode_arrays(sketched.sketches))


def _read(path: Path, space: Space, arithmetic: str) -> Sketched | None:
    if not path.exists():
        return None
    try:
        header, arrays = unpack(read_file(path, "sketch"), "sketch")
        decoded = {kind: decode_sketch(kind, arrays) for kind in space.sketches}
        sketches = {kind: sketch.bind(space) for kind, sketch in decoded.items()}
    except FedprintError as error:
        log.warning("the kept sketch %s is unusable and is made again: %s", path.name, error)
        return None
    return Sketched(sketches, tuple(BadImage(*bad) for bad in header["unreadable"]), arithmetic)
