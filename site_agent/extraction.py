"""From images to exact sketches in one streamed pass; what was sketched before is read back."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from federation.canonical import canonical_json, sha256_hex
from federation.container import pack, unpack
from federation.errors import DeadlineError, FedprintError
from federation.files import read_file, write_atomically
from federation.sampling import SamplingPlan
from federation.sketches import Sketch, decode_sketch, encode_arrays, zeros
from federation.space import Space
from site_agent.data import ImageSource
from site_agent.extractors import Extractor
from site_agent.loading import BadImage, ImageStream

log = logging.getLogger("fedprint.site")

_BATCH = 64  # images per update of the sketch; the network takes them in smaller portions


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

    Args:
        work: What to sketch.
        extractor: The network of the work's space.
        on_progress: Told how many images are done, of how many.

    Raises:
        DataError: If too many images are unreadable.
        DeadlineError: If the deadline passes first.
    """
    stream = ImageStream(
        work.source,
        work.space.extractor.transform,
        work.sampling,
        batch_size=max(_BATCH, extractor.batch_size),
        max_unreadable=work.max_unreadable,
    )
    sketches, done = zeros(work.space), 0
    on_progress(0, len(stream))
    for batch in stream:
        if time.time() > work.deadline:
            raise DeadlineError(f"the deadline passed after {done} of {len(stream)} images")
        features = extractor(batch.images)
        sketches = {kind: sketch.update(features) for kind, sketch in sketches.items()}
        done += len(batch.images)
        on_progress(done + len(stream.bad), len(stream))
    on_progress(len(stream), len(stream))
    return Sketched(sketches, stream.bad, extractor.arithmetic)


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
