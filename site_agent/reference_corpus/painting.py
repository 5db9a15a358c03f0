"""Opaque marks on a canvas: dabs, strokes and wandering lines.

A canvas is float32 [3, size, size]; places and lengths are in units of its side.
"""

import numpy as np

from site_agent.reference_corpus.dice import Dice, Field, Point


def dab(
    canvas: Field, dice: Dice, at: Point, radii: Point, paint: Field, edge: float, box: bool = False
) -> None:
    """Paint a randomly turned ellipse or rectangle whose edge is ``edge`` radii wide."""
    reach = max(radii) * (1 + 0.5 * edge) * (1.415 if box else 1)
    spot, dx, dy = _around(canvas, at, at, reach)
    if spot.size:
        (c, s), (a, b) = dice.direction(), radii
        u, v = (c / a) * dx + (s / a) * dy, (c / b) * dy - (s / b) * dx
        distance = np.maximum(np.abs(u), np.abs(v)) if box else np.sqrt(u * u + v * v)
        _blend(spot, np.clip((1 - distance) / edge + 0.5, 0, 1), paint)


def stroke(canvas: Field, start: Point, end: Point, width: float, paint: Field) -> None:
    """Paint a straight stroke, ``width`` to either side, with round ends."""
    size = canvas.shape[1]
    spot, dx, dy = _around(canvas, start, end, width + 1.5 / size)
    if spot.size:
        lx, ly = end[0] - start[0], end[1] - start[1]
        squared = lx * lx + ly * ly + 1e-9
        along = np.clip((lx / squared) * dx + (ly / squared) * dy, 0, 1)
        ox, oy = dx - lx * along, dy - ly * along
        _blend(spot, np.clip((width - np.sqrt(ox * ox + oy * oy)) * size + 0.5, 0, 1), paint)


def walk(
    canvas: Field, dice: Dice, at: Point, heading: Point, steps: int, stride: float, bend: float,
    width: float, paint: Field,
) -> list[tuple[Point, Point]]:  # fmt: skip
    """Paint a curved line as short strokes.

    Args:
        canvas: Where to paint.
        dice: Chance.
        at: Where the line begins.
        heading: Unit vector of its first direction.
        steps: Number of strokes.
        stride: Length of a stroke.
        bend: Half-angle tangent of the sharpest turn between strokes.
        width: Half the thickness.
        paint: Its colour.

    Returns:
        The joints with the heading at each, where branches may start.
    """
    joints, turn = [], 0.0
    for _ in range(steps):
        turn = 0.6 * turn + bend * dice.between(-0.6, 0.6)
        c, s = (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)
        heading = (c * heading[0] - s * heading[1], s * heading[0] + c * heading[1])
        end = (at[0] + stride * heading[0], at[1] + stride * heading[1])
        stroke(canvas, at, end, width, paint)
        at = end
        joints.append((at, heading))
    return joints


def _around(canvas: Field, start: Point, end: Point, reach: float) -> tuple[Field, Field, Field]:
    """Return the view of the canvas within reach of a segment, and offsets from its start."""
    size = canvas.shape[1]
    spans = []
    for low, high in ((min(s, e), max(s, e)) for s, e in zip(start, end, strict=True)):
        first = min(max(int((low - reach) * size), 0), size)
        spans.append((first, max(min(int((high + reach) * size) + 2, size), first)))
    (left, right), (top, bottom) = spans
    dx = (np.arange(left, right, dtype=np.float32) + np.float32(0.5)) / np.float32(size) - start[0]
    dy = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5)) / np.float32(size) - start[1]
    return canvas[:, top:bottom, left:right], dx[None, :], dy[:, None]


def _blend(spot: Field, cover: Field, paint: Field) -> None:
    spot += cover * (paint - spot)
