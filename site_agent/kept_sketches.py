"""Sketches that were made before are read back: no image is decoded, and no network is loaded."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from federation.container import pack, unpack
from federation.errors import FedprintError
from federation.files import read_file, write_atomically
from federation.sketches import decode_sketch, encode_arrays
from federation.space import Space
from site_agent.data.unreadable import BadImage
from site_agent.network.mode import Acceleration
from site_agent.sketch_work import Sketched, Work

if TYPE_CHECKING:
    from site_agent.extractors import Extractor

log = logging.getLogger("fedprint.site")

# What a kept file says of the sketches in it.
_FIELDS = ("arithmetic", "n", "n_patients", "weight", "unit")


def sketch_once(
    work: Work,
    load: Callable[[], "Extractor"],
    acceleration: Acceleration,
    folder: Path,
    on_progress: Callable[[int, int], None],
) -> Sketched:
    """Return the sketches kept in ``folder`` if data and settings are unchanged, else make and keep them.

    What is made with noise is never kept: it belongs to the release that pays for it, and to no other.

    Args:
        work: What to sketch.
        load: Loads the network of the work's space; called only where images must be read.
        acceleration: How the site wants it executed. Kept sketches say how theirs was.
        folder: Where sketches are kept.
        on_progress: Told how many images are done, of how many.
    """
    if work.head_terms.rho:
        return _sketched(work, load, on_progress)
    path = folder / f"{work.key(acceleration)}.safetensors"
    kept = _read(path, work.space)
    if kept is None:
        kept = _sketched(work, load, on_progress)
        write_atomically(path, _encode(kept))
    else:
        on_progress(kept.n, kept.n)
    return kept


def _sketched(
    work: Work, load: Callable[[], "Extractor"], on_progress: Callable[[int, int], None]
) -> Sketched:
    from site_agent.extraction import sketch  # loads PyTorch

    return sketch(work, load(), on_progress)


def _encode(sketched: Sketched) -> bytes:
    header = {name: getattr(sketched, name) for name in _FIELDS}
    header["unreadable"] = [[bad.name, bad.reason] for bad in sketched.unreadable]
    return pack(header, encode_arrays(sketched.sketches))


def _read(path: Path, space: Space) -> Sketched | None:
    if not path.exists():
        return None
    try:
        header, arrays = unpack(read_file(path, "sketch"), "sketch")
        decoded = {kind: decode_sketch(kind, arrays) for kind in space.sketches}
        sketches = {kind: sketch.bind(space) for kind, sketch in decoded.items()}
        unreadable = tuple(BadImage(*bad) for bad in header["unreadable"])
        return Sketched(sketches, unreadable, **{name: header[name] for name in _FIELDS})
    except (FedprintError, KeyError, TypeError) as error:
        log.warning("the kept sketch %s is unusable and is made again: %s", path.name, error)
        return None
