"""How uncertain noise makes the distances between tasks, told from what their fingerprints state about it."""

from collections.abc import Sequence

import numpy as np

from federation.distances.base import Distance, Matrix
from federation.distances.noise import NoisyTask
from federation.fingerprint import Fingerprint
from federation.sketches import kind
from federation.space import Space


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
    ours, theirs = ([stated_noise(f, distance.needs) for f in side] for side in (sources, targets))
    noisy = np.logical_or.outer([bool(t.noise) for t in ours], [bool(t.noise) for t in theirs])
    if not noisy.any():
        return np.broadcast_to(0.0, noisy.shape)
    if distance.zero_self:
        noisy &= np.not_equal.outer([f.key for f in sources], [f.key for f in targets])
    if distance.noise_model is None:
        return np.where(noisy, np.nan, 0.0)
    empty = kind(distance.needs).for_space(space)
    return np.where(noisy, distance.noise_model.standard_errors(empty, values, ours, theirs), 0.0)
