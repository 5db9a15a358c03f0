"""Where tasks stand on the neighbour map: multidimensional scaling, then room for every label."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist, squareform
from scipy.stats import rankdata

Points = npt.NDArray[np.float64]

_ASPECT = 1.9
_WIDEST = 1100.0
_SPREAD = 3.0
_MDS_STEPS = 300
_PUSHES = 2000


def place(unlike: Points, order: Sequence[int], boxes: Points) -> Points:
    """Return a position per task: alike tasks near each other, no two boxes overlapping.

    Distances enter by their rank among all pairs, so that one far-off task does not squeeze the
    others together. The start is a circle in clustered order; nothing is drawn at random.

    Args:
        unlike: float64 [T, T], symmetric dissimilarity.
        order: Task indices in clustered order.
        boxes: float64 [T, 2], width and height that each task needs, in pixels.

    Returns:
        float64 [T, 2], centres of the boxes in pixels, rounded to tenths; the smallest box edge is
        at 0.
    """
    if len(unlike) < 2:
        return boxes / 2
    points = _turn(_scale(_rank_pairs(unlike), _circle(order)))
    points = separate(points * _room(points, boxes), boxes)
    corner = (points - boxes / 2).min(axis=0)
    placed: Points = np.round(points - corner, 1)
    return placed


def separate(points: Points, boxes: Points) -> Points:
    """Return positions moved as little as needed for no two boxes to overlap.

    Each overlapping pair is pushed apart along the axis where that is shorter, until none is left.

    Args:
        points: float64 [T, 2], centres.
        boxes: float64 [T, 2], widths and heights.
    """
    points, apart = points.copy(), (boxes[:, None] + boxes[None]) / 2
    later = np.sign(np.arange(len(points))[:, None] - np.arange(len(points))[None])
    for _ in range(_PUSHES):
        gap = points[:, None] - points[None]
        overlap = apart - np.abs(gap)
        touching = (overlap.min(axis=2) > 1e-6) & (later != 0)
        if not touching.any():
            break
        direction = np.where(gap == 0, later[:, :, None], np.sign(gap))
        shorter = overlap == overlap.min(axis=2, keepdims=True)
        push = np.where(touching[:, :, None] & shorter, direction * (overlap + 0.5), 0.0)
        points += 0.3 * push.sum(axis=1)
    return points


def _rank_pairs(unlike: Points) -> Points:
    pairs = squareform(unlike, checks=False)
    share = rankdata(pairs, method="average") / len(pairs)
    ranked: Points = squareform(0.15 + 0.85 * share)
    return ranked


def _circle(order: Sequence[int]) -> Points:
    angle = np.empty(len(order))
    angle[list(order)] = 2 * np.pi * np.arange(len(order)) / len(order)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) / 2


def _scale(wanted: Points, points: Points) -> Points:
    """SMACOF with unit weights (de Leeuw, "Applications of convex analysis to MDS", 1977)."""
    for _ in range(_MDS_STEPS):
        found = np.maximum(cdist(points, points), 1e-9)
        ratio = -wanted / found
        np.fill_diagonal(ratio, 0.0)
        np.fill_diagonal(ratio, -ratio.sum(axis=1))
        points = ratio @ points / len(points)
    return points


def _turn(points: Points) -> Points:
    """Lay the longest extent along x, the first task left of the middle and above it."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    turned: Points = centred @ axes.T
    return turned * np.where(turned[0] > 0, -1.0, 1.0)


def _room(points: Points, boxes: Points) -> Points:
    """Factors that make the drawing as large as its labels need, no wider than a page shows at full size."""
    area = _SPREAD * boxes.prod(axis=1).sum()
    width = min(np.sqrt(area * _ASPECT), _WIDEST)
    room: Points = np.array([width, area / width]) / np.maximum(np.ptp(points, axis=0), 1e-3)
    return room
