"""Twelve kinds of scene, from textures to fundi; each is float32 [3, size, size], roughly in [0, 1]."""

from collections.abc import Callable

import numpy as np

from site_agent.reference_corpus.dice import Dice, Field, as_colour
from site_agent.reference_corpus.fields import (
    across,
    axis,
    clouds,
    down,
    ellipse,
    grain,
    gray,
    inside,
    lattice,
    ramp,
    speckle,
    step,
    stripes,
    wave,
)
from site_agent.reference_corpus.painting import dab, walk

_WHITE = as_colour((1, 1, 1))


def texture(dice: Dice, size: int) -> Field:
    """Clouds, ridges, blotches, stripes or weaves in two random colours."""
    cloud = clouds(dice, size, dice.pick(2, 4, 8, 16, 32), 4, dice.between(0.3, 0.9))
    kind = dice.pick("cloud", "ridge", "blotch", "stripe", "weave")
    if kind == "cloud":
        field = np.clip(2.2 * cloud - 0.6, 0, 1)
    elif kind == "ridge":
        field = 2 * np.abs(2 * cloud - 1)
    elif kind == "blotch":
        field = step(cloud, 0.5, dice.between(0.02, 0.3))
    else:
        field = wave(stripes(dice, size, dice.between(3, 40)) + dice.between(0, 3) * cloud)
    if kind == "weave":
        field = field * wave(stripes(dice, size, dice.between(3, 40)) + cloud)
    return ramp(field, dice.colour(), dice.colour())


def leaves(dice: Dice, size: int) -> Field:
    """Dead leaves: opaque shapes of power-law size, the occlusion statistics of natural scenes.

    Lee, Mumford & Huang 2001.
    """
    canvas = ramp(clouds(dice, size, 3), dice.colour(), dice.colour())
    base, spread, smallest = dice.colour(), dice.between(0.1, 0.6), dice.between(0.01, 0.04)
    box, edge = dice.chance(0.5), dice.between(0.02, 0.5)
    for _ in range(dice.integer(15, 70)):
        radius = smallest / float(np.sqrt(1 - dice.between(0, 0.995)))
        radii = (radius, radius * dice.between(0.3, 1))
        dab(canvas, dice, dice.point(), radii, dice.near(base, spread), edge, box)
    return canvas * (0.8 + 0.4 * clouds(dice, size, 8, 4, 0.8))


def cells(dice: Dice, size: int) -> Field:
    """Blood smears and cultures: pale-centred cells, now and then one with a lobed nucleus."""
    light = dice.near(dice.pick((0.9, 0.88, 0.85), (0.95, 0.8, 0.75), (0.55, 0.55, 0.55)), 0.1)
    body = dice.near(dice.pick((0.85, 0.6, 0.6), (0.75, 0.65, 0.8), (0.4, 0.4, 0.4)), 0.15)
    canvas = ramp(clouds(dice, size, 16, 3, 0.8), light - 0.05, light + 0.05)
    radius, pale = dice.between(0.04, 0.16), dice.near(light, 0.05)
    for _ in range(min(45, int(0.5 / (radius * radius)) + 1)):
        at, r = dice.point(), radius * dice.between(0.8, 1.2)
        dab(canvas, dice, at, (r, r * dice.between(0.8, 1)), body, 0.15)
        if dice.chance(0.7):
            dab(canvas, dice, at, (0.5 * r, 0.5 * r), pale, 1.0)
    for _ in range(dice.integer(0, 3)):
        _white_cell(canvas, dice, dice.between(0.08, 0.3))
    return canvas


def _white_cell(canvas: Field, dice: Dice, radius: float) -> None:
    x, y = dice.point(0.2, 0.8)
    dab(canvas, dice, (x, y), (radius, radius), dice.near((0.75, 0.7, 0.85)), 0.1)
    nucleus = dice.near((0.4, 0.2, 0.55), 0.15)
    for _ in range(dice.integer(1, 4)):
        lobe = radius * dice.between(0.3, 0.6)
        at = (x + lobe * dice.between(-1, 1), y + lobe * dice.between(-1, 1))
        dab(canvas, dice, at, (lobe, 0.8 * lobe), nucleus, 0.15)


def tissue(dice: Dice, size: int) -> Field:
    """Stained sections: fibrous stroma, white gaps, many small dark nuclei."""
    stroma = dice.near(dice.pick((0.9, 0.6, 0.75), (0.85, 0.7, 0.8), (0.75, 0.55, 0.4)), 0.1)
    fibres = clouds(dice, size, dice.integer(4, 16), 5, 0.75)
    canvas = ramp(np.clip(2 * fibres - 0.5, 0, 1), 0.75 * stroma, 0.5 * stroma + 0.5)
    gaps = step(clouds(dice, size, dice.integer(2, 6), 3), dice.between(0.5, 0.8), 0.05)
    canvas += gaps * (np.float32(0.94) - canvas)
    nucleus, radius = dice.near((0.4, 0.25, 0.6)), dice.between(0.012, 0.045)
    for _ in range(dice.integer(20, 80)):
        long = radius * dice.between(0.7, 1.4)
        radii = (long, long * dice.between(0.4, 0.9))
        dab(canvas, dice, dice.point(), radii, dice.near(nucleus, 0.08), 0.4)
    return canvas


def radiograph(dice: Dice, size: int) -> Field:
    """Soft nested shadows on black, with a bright shell or ribs: films, CT and MR slices."""
    outline = ellipse(dice, size, (0.5, 0.5), dice.between(0.3, 0.6), dice.between(0.3, 0.6))
    body = inside(outline, dice.between(0.03, 0.8))
    shading = clouds(dice, size, dice.pick(4, 8, 16), 5, dice.between(0.4, 0.9))
    level = (0.4 + 1.2 * shading) * dice.between(0.2, 0.7)
    for _ in range(dice.integer(2, 8)):
        radii = dice.point(0.03, 0.25)
        organ = ellipse(dice, size, dice.point(0.25, 0.75), *radii)
        level += inside(organ, dice.between(0.03, 1)) * dice.between(-0.5, 0.5)
    if dice.chance(0.5):
        shell = np.abs(outline - 0.9) / dice.between(0.08, 0.25)
        level += inside(shell, 0.3) * dice.between(0.3, 0.8)
    canvas = gray(level * body)
    for _ in range(dice.pick(0, 0, 4, 10)):
        bone = _WHITE * dice.between(0.5, 1)
        width = dice.between(0.005, 0.03)
        walk(canvas, dice, dice.point(), dice.direction(), 6, 0.07, 0.25, width, bone)
    return canvas + dice.between(0, 0.08) * grain(dice, size) * body


def ultrasound(dice: Dice, size: int) -> Field:
    """Speckle under bands and dark lesions, half of the time in a sector."""
    depth = down(size)
    level = clouds(dice, size, dice.integer(2, 5), 3) * speckle(dice, size)
    level = level * (1.6 - dice.between(0.2, 1.4) * depth) * dice.between(0.7, 1.8)
    level *= 0.5 + wave(dice.between(1, 6) * depth + 0.8 * clouds(dice, size, 3))
    for _ in range(dice.integer(1, 3)):
        dark = ellipse(dice, size, dice.point(0.2, 0.8), *dice.point(0.05, 0.3))
        level *= 1 - dice.between(0.5, 1) * inside(dark, 0.3)
    if dice.chance(0.5):
        aside, slope = np.abs(across(size) - 0.5), dice.between(0.4, 1)
        level *= (aside < slope * (depth + 0.05)) & (aside * aside + depth * depth < 0.9)
    return gray(level)


def fundus(dice: Dice, size: int) -> Field:
    """The back of an eye: optic disc, macula, branching vessels, sometimes exudates, in a round field."""
    dark, bright = dice.near((0.6, 0.25, 0.1), 0.15), dice.near((0.9, 0.5, 0.3), 0.15)
    canvas = ramp(clouds(dice, size, 3), dark, bright)
    (x, y), radius = (dice.between(0.1, 0.9), dice.between(0.3, 0.7)), dice.between(0.05, 0.12)
    dab(canvas, dice, (x, y), (radius, 0.9 * radius), dice.near((1.0, 0.85, 0.55), 0.1), 0.4)
    dab(canvas, dice, (1 - x, y), (2 * radius, 2 * radius), 0.8 * dark, 1.6)
    blood, width = dice.near((0.5, 0.1, 0.08), 0.08), dice.between(0.006, 0.014)
    for _ in range(dice.integer(3, 6)):
        joints = walk(canvas, dice, (x, y), dice.direction(), 9, 0.08, 0.25, width, blood)
        for at, (hx, hy) in joints[2::3]:
            walk(canvas, dice, at, (hy, -hx), 5, 0.05, 0.3, 0.5 * width, blood)
    for _ in range(dice.pick(0, 0, 0, 12)):
        spot = dice.between(0.004, 0.02)
        dab(canvas, dice, dice.point(0.1, 0.9), (spot, spot), dice.near((0.9, 0.8, 0.4)), 0.5)
    aperture = dice.between(0.42, 0.8)
    return canvas * inside(ellipse(dice, size, (0.5, 0.5), aperture, aperture), 0.03)


def lesion(dice: Dice, size: int) -> Field:
    """Skin with one pigmented, ragged lesion, sometimes under hairs."""
    skin = dice.near((0.85, 0.65, 0.58), 0.15)
    canvas = ramp(clouds(dice, size, 8, 5, 0.7), 0.9 * skin, 1.08 * skin)
    shape = ellipse(dice, size, dice.point(0.35, 0.65), *dice.point(0.1, 0.4))
    ragged = shape + 2 * clouds(dice, size, dice.integer(3, 8), 4, 0.6) - 1
    brown, tan = dice.near((0.3, 0.18, 0.14), 0.15), dice.near((0.65, 0.42, 0.35), 0.15)
    pigment = ramp(clouds(dice, size, dice.integer(6, 24), 4, 0.7), brown, tan)
    canvas += inside(ragged, dice.between(0.1, 1)) * (pigment - canvas)
    for _ in range(dice.pick(0, 0, 6, 15)):
        hair, width = dice.colour(0.05, 0.25), dice.between(0.002, 0.005)
        walk(canvas, dice, dice.point(-0.1, 1), dice.direction(), 8, 0.1, 0.1, width, hair)
    return canvas


def script(dice: Dice, size: int) -> Field:
    """One large glyph or lines of small ones: handwriting, print, scale bars."""
    paper, shade = dice.colour(), dice.between(-0.2, 0.2)
    if dice.chance(0.5):
        paper = _WHITE * dice.pick(0.0, 0.95)
    canvas = ramp(clouds(dice, size, 2), paper, paper + shade)
    pen = dice.colour() if dice.chance(0.3) else _WHITE * (1.0 if paper[1, 0, 0] < 0.5 else 0.0)
    big = dice.chance(0.6)
    height = dice.between(0.08, 0.14) if big else 0.02
    width = height * dice.between(0.12, 0.5)
    for index in range(dice.integer(1, 2) if big else dice.integer(12, 30)):
        column, row = (index % 8 + 0.6) / 8.5, (index // 8 + 1) * 0.2
        start = dice.point(0.3, 0.6) if big else (column, row)
        steps = dice.integer(3, 7)
        walk(canvas, dice, start, dice.direction(), steps, 1.3 * height, 0.9, width, pen)
    return canvas


def panel(dice: Dice, size: int) -> Field:
    """Grids, checkers and bars with a few scratches: screens, plates, solar cells, film borders."""
    columns, rows, line = dice.integer(1, 14), dice.integer(1, 14), dice.between(0.03, 0.3)
    u, v = across(size) * columns, down(size) * rows
    u, v = u - np.floor(u), v - np.floor(v)
    kind = dice.pick("grid", "checker", "bars")
    if kind == "grid":
        field = ((u < line) | (v < line)).astype(np.float32)
    elif kind == "checker":
        field = ((u < 0.5) == (v < 0.5)).astype(np.float32)
    else:
        bars = dice.field(rows, 1)[(axis(size) * rows).astype(np.int64)]
        field = 0.5 * lattice(dice, size, rows, columns) + 0.5 * bars
    canvas = ramp(field, dice.colour(), dice.colour())
    canvas *= 0.7 + 0.5 * clouds(dice, size, 3, 6, 0.6)
    for _ in range(dice.pick(0, 2, 6)):
        scratch, width = dice.colour(), dice.between(0.002, 0.02)
        walk(canvas, dice, dice.point(), dice.direction(), 6, 0.1, 0.2, width, scratch)
    return canvas


def layers(dice: Dice, size: int) -> Field:
    """Wavy bright bands under a dark space, with speckle: optical coherence tomography."""
    bend = lattice(dice, size, 1, dice.integer(2, 6)) * dice.between(0.05, 0.5)
    depth = down(size) + bend - dice.between(0.1, 0.5)
    count, thickness = dice.integer(4, 10), dice.between(0.03, 0.12)
    band = np.clip(np.floor(depth / thickness), 0, count - 1).astype(np.int64)
    fade = 1 - step(depth, thickness * count, 0.3)
    level = dice.field(count)[band] * step(depth, 0.0, 0.02) * fade
    level = level * (0.4 + 1.4 * speckle(dice, size)) + dice.between(0, 0.1) * grain(dice, size)
    tint = dice.colour(0.6, 1.0) if dice.chance(0.2) else _WHITE
    return gray(level) * tint


def silhouette(dice: Dice, size: int) -> Field:
    """One thing made of a few parts before a plain ground: garments, tools, fruit, hands."""
    ground = _WHITE * dice.pick(0.0, 0.0, 1.0, 0.5) if dice.chance(0.6) else dice.colour()
    canvas: Field = np.zeros((3, size, size), dtype=np.float32) + ground
    thing, variety = dice.colour(0.2, 1.0), dice.between(0, 0.3)
    for _ in range(dice.integer(1, 6)):
        radii = (dice.between(0.05, 0.35), dice.between(0.05, 0.25))
        edge, box = dice.between(0.02, 0.6), dice.chance(0.5)
        dab(canvas, dice, dice.point(0.3, 0.7), radii, dice.near(thing, variety), edge, box)
    return canvas * (0.75 + 0.5 * clouds(dice, size, dice.pick(2, 8, 32), 4, 0.7))


SCENES: tuple[Callable[[Dice, int], Field], ...] = (
    texture, leaves, cells, tissue, radiograph, ultrasound,
    fundus, lesion, script, panel, layers, silhouette,
)  # fmt: skip
