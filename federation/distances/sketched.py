"""Sketches of one kind, taken from whatever carries them and checked to be comparable."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from federation.distances.base import Comparable
from federation.distances.sketch_stack import require_one_space_id
from federation.errors import FingerprintError, SpaceMismatchError
from federation.fingerprint import Fingerprint
from federation.sketches import Sketch

S = TypeVar("S", bound=Sketch)
_LONGEST = 250  # characters; a network's layers would fill the screen


def sketch_pair(
    sources: Sequence[Comparable],
    targets: Sequence[Comparable],
    kind: type[S],
    parameters: Callable[[S], object],
) -> tuple[list[S], list[S]]:
    """Return the sketches of sources and targets.

    Args:
        sources: Sketches of the kind, or fingerprints that carry one.
        targets: Likewise, of the same space.
        kind: Class of the sketches.
        parameters: What two sketches must share to be compared.

    Raises:
        FingerprintError: If a sketch is missing, of another kind, or holds no images.
        SpaceMismatchError: If space ids or parameters differ.
    """
    require_one_space_id([*sources, *targets])
    named = [(f"source {i}", item) for i, item in enumerate(sources)]
    named += [(f"target {i}", item) for i, item in enumerate(targets)]
    found = [_sketch(item, label, kind) for label, item in named]
    for (label, _), sketch in zip(named, found, strict=True):
        if parameters(sketch) != parameters(found[0]):
            theirs = f"{parameters(found[0])} and {parameters(sketch)}"
            shown = f": {theirs}" if len(theirs) <= _LONGEST else ""
            raise SpaceMismatchError(
                f"the {kind.kind} sketches of {named[0][0]} and {label} have different parameters{shown}",
                remedy="compare sketches of one space",
            )
    return found[: len(sources)], found[len(sources) :]


def _sketch(item: Comparable, label: str, kind: type[S]) -> S:
    if isinstance(item, Fingerprint):
        label, sketch = item.key, item.sketches.get(kind.kind)
    else:
        sketch = item
    if not isinstance(sketch, kind):
        raise FingerprintError(
            f"{label} carries no {kind.kind} sketch (found: {type(sketch).__name__})",
            remedy=f'build a space with sketches = ["{kind.kind}", …] and fingerprint the task in it',
        )
    if sketch.n < 1 and sketch.noise:
        raise FingerprintError(
            f"the {kind.kind} sketch of {label} counts {sketch.n} images: noise hides how many there are",
            remedy="leave the task out; it is too small for its privacy budget",
        )
    if sketch.n < 1:
        raise FingerprintError(
            f"the {kind.kind} sketch of {label} holds no images",
            remedy="leave the task out, or fingerprint it again",
        )
    return sketch
