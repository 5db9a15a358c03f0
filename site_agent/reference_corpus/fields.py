"""Scalar fields over the image plane: clouds, waves, steps and ellipses."""

import numpy as np

from site_agent.reference_corpus.dice import Dice, Field, Point


def axis(size: int) -> Field:
    """Return the pixel centres along one side, in [0, 1]."""
    return (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)


def across(size: int) -> Field:
    """Return how far right every pixel lies, float32 [1, size]."""
    return axis(size)[None, :]


def down(size: int) -> Field:
    """Return how far down every pixel lies, float32 [size, 1]."""
    return axis(size)[:, None]


def lattice(dice: Dice, size: int, rows: int, columns: int) -> Field:
    """Return value noise: random values on a coarse lattice, smoothly interpolated (Perlin 1985)."""
    values = dice.field(rows + 1, columns + 1)
    for cells in (rows, columns):
        position = axis(size) * np.float32(cells)
        left = position.astype(np.int64)
        t = position - left.astype(np.float32)
        t = (t * t * (3 - 2 * t))[:, None]
        near, far = values[left], values[left + 1]
        values = np.ascontiguousarray((near + (far - near) * t).T)
    return values


def clouds(dice: Dice, size: int, cells: int, octaves: int = 4, roughness: float = 0.5) -> Field:
    """Return value noise summed over octaves, in [0, 1].

    Args:
        dice: Chance.
        size: Side in pixels.
        cells: Lattice cells of the coarsest octave.
        octaves: Number of octaves, each twice as fine as the one before.
        roughness: Amplitude of an octave relative to the one before; the fall of the spectrum.
    """
    total, weight, amplitude = np.zeros((size, size), dtype=np.float32), 0.0, 1.0
    for _ in range(octaves):
        if cells <= size:
            total += amplitude * lattice(dice, size, cells, cells)
            weight, amplitude, cells = weight + amplitude, amplitude * roughness, 2 * cells
    return total / max(weight, 1.0)


def grain(dice: Dice, size: int) -> Field:
    """Return white noise in [-1, 1], the sum of two uniform variables."""
    return dice.field(size, size) + dice.field(size, size) - 1


def speckle(dice: Dice, size: int) -> Field:
    """Return the granular product noise of coherent imaging, mostly in [0, 1]."""
    rows, columns = dice.integer(60, 110), dice.integer(30, 110)
    return 2 * lattice(dice, size, rows, columns) * lattice(dice, size, rows, columns)


def wave(phase: Field) -> Field:
    """Return a smooth curve in [0, 1] of period 1, two parabolas instead of a sine."""
    t = phase - np.floor(phase)
    arch = t * (1 - 2 * t)
    dip = (t - np.float32(0.5)) * (2 * t - 2)
    return np.float32(0.5) + 4 * np.where(t < np.float32(0.5), arch, dip)


def stripes(dice: Dice, size: int, cycles: float) -> Field:
    """Return the phase of straight stripes in a random direction."""
    c, s = dice.direction()
    return (cycles * c) * across(size) + (cycles * s) * down(size)


def step(field: Field, at: float, softness: float) -> Field:
    """Return a smooth step from 0 to 1 where ``field`` passes ``at``."""
    t: Field = np.clip((field - at) / softness + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def inside(distance: Field, softness: float) -> Field:
    """Return 1 where a distance is below 1, fading to 0 over ``softness``."""
    return step(-distance, -1.0, softness)


def ellipse(dice: Dice, size: int, centre: Point, a: float, b: float) -> Field:
    """Return the squared distance from the centre in units of a randomly turned ellipse."""
    c, s = dice.direction()
    dx, dy = across(size) - centre[0], down(size) - centre[1]
    u, v = (c / a) * dx + (s / a) * dy, (c / b) * dy - (s / b) * dx
    squared: Field = u * u + v * v
    return squared


def ramp(field: Field, low: Field, high: Field) -> Field:
    """Return [3, size, size]: 0 in the colour ``low``, 1 in the colour ``high``."""
    mixed: Field = low + field * (high - low)
    return mixed


def gray(field: Field) -> Field:
    """Return a field clipped to [0, 1] as [3, size, size] without colour."""
    return np.repeat(np.clip(field, 0, 1)[None], 3, axis=0)
