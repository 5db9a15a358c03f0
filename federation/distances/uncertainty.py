"""How uncertain noise makes the distances between tasks, told from what their fingerprints state about it."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from federation.distances.base import Distance, Matrix
from federation.distances.noise import NoisyTask
from federation.fingerprint import Fingerprint
from federation.sketches import CdfSketch, Sketch, encode_arrays, kind
from federation.space import Space

Levels: TypeAlias = npt.NDArray[np.int64]


def stated_noise(fingerprint: Fingerprint, sketch: str) -> NoisyTask:
    """Return what a fingerprint, with or without its sketches, states about the noise in one of them.

    The number of images is that of the card, which is rounded to whole patients.

    Args:
        fingerprint: The fingerprint.
        sketch: Kind of the sketch.
    """
    privacy, prefix = fingerprint.privacy, f"{sketch}."
    noise = {n.removeprefix(prefix): v for n, v in privacy.noise.items() if n.startswith(prefix)}
    return NoisyTask(noise, fingerprint.card.n_images * privacy.weight)


def standard_errors(
    distance: Distance,
    space: Space,
    values: Matrix,
    sources: Sequence[Fingerprint],
    targets: Sequence[Fingerprint],
) -> Matrix:
    """Return the standard errors that noise gives distances: 0 between exact tasks, NaN where unknown.

    A distance of a task to itself that is zero by definition stays so under noise. What task cards give has
    no noise.

    Args:
        distance: The distance.
        space: The space of all fingerprints.
        values: float64 [n_sources, n_targets], distances less what noise adds on average.
        sources: The sources, with or without their sketches.
        targets: The targets, likewise.

    Returns:
        float64 [n_sources, n_targets], possibly read-only.
    """
    if all(fingerprint.privacy.is_exact for fingerprint in (*sources, *targets)):
        return np.broadcast_to(0.0, values.shape)
    ours, theirs = ([stated_noise(f, distance.needs) for f in side] for side in (sources, targets))
    noisy = np.logical_or.outer([bool(t.noise) for t in ours], [bool(t.noise) for t in theirs])
    if distance.zero_self:
        noisy &= np.not_equal.outer([f.key for f in sources], [f.key for f in targets])
    model = distance.noise_model
    if model is None:
        return np.where(noisy, np.nan, 0.0)
    found = np.zeros(noisy.shape)
    row_levels, column_levels = (_levels(distance.needs, space, side) for side in (sources, targets))
    for levels in np.unique([*row_levels, *column_levels]):
        # Two sketches are compared at the levels that both have.
        here = np.minimum.outer(row_levels, column_levels) == levels
        errors = model.standard_errors(_empty(distance.needs, space, levels), values, ours, theirs)
        found[here] = errors[here]
    return np.where(noisy, found, 0.0)


def _levels(sketch: str, space: Space, fingerprints: Sequence[Fingerprint]) -> Levels:
    """Return int64 [n]: at how many levels of thresholds each is known; 0 for sketches without levels."""
    if sketch != CdfSketch.kind:
        return np.zeros(len(fingerprints), np.int64)
    whole = CdfSketch.for_space(space).n_levels
    name = f"{sketch}.curve"
    rows = [_shapes(fingerprint).get(name, (2**whole - 1,))[0] for fingerprint in fingerprints]
    return np.array([(n + 1).bit_length() - 1 for n in rows], np.int64)


def _shapes(fingerprint: Fingerprint) -> Mapping[str, tuple[int, ...]]:
    arrays = encode_arrays(fingerprint.sketches)
    return {name: array.shape for name, array in arrays.items()} or fingerprint.shapes


def _empty(sketch: str, space: Space, levels: int) -> Sketch:
    empty = kind(sketch).for_space(space)
    return CdfSketch.zero(empty.known, int(levels)) if isinstance(empty, CdfSketch) else empty
