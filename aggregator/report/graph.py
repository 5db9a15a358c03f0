"""The neighbour map: an arrow from each target's nearest sources to the target."""

from dataclasses import dataclass

import numpy as np

from aggregator.report.groups import Group
from aggregator.report.heatmap import Heatmap
from aggregator.report.layout import Points, place
from aggregator.report.words import shorten

N_NEIGHBOURS = 3
_LABEL_LIMIT = 24
_CHARACTER = 6.5
_BOX_HEIGHT = 56.0
_MARGIN = 18.0
_SYMBOL_ABOVE = 14.0
_GAP = 12.0
_BEND = 0.13


@dataclass(frozen=True)
class Node:
    """A task on the map.

    Args:
        index: Position of the task in the matrix.
        x: Pixels from the left.
        y: Pixels from the top, of the symbol's centre.
        label: Task name, shortened.
        site: Site name, shortened.
        key: Address of the task, in full.
        group: Colour and symbol.
    """

    index: int
    x: float
    y: float
    label: str
    site: str
    key: str
    group: Group


@dataclass(frozen=True)
class Arrow:
    """One of a target's nearest sources.

    Args:
        source: Index of the source.
        target: Index of the target.
        rank: 1 for the nearest.
        shaft: SVG path from source to target.
        head: SVG path of the arrow head at the target.
        words: The arrow as a sentence.
    """

    source: int
    target: int
    rank: int
    shaft: str
    head: str
    words: str


@dataclass(frozen=True)
class Graph:
    """The map in pixels.

    Args:
        width: Width of the drawing.
        height: Height of the drawing.
        nodes: The tasks.
        arrows: Farther neighbours first, so that nearest ones are drawn on top.
        shown: How many ranks are visible before a task is pointed at; fewer in a crowd.
    """

    width: float
    height: float
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    shown: int


def neighbour_graph(heatmap: Heatmap, keys: list[str], groups: list[Group]) -> Graph:
    """Return the map of one distance.

    Args:
        heatmap: The distance.
        keys: Address ``site/task`` per task, in matrix order.
        groups: Group per task, in matrix order.
    """
    labels = [_label(key) for key in keys]
    boxes = np.array([_box(task, site) for task, site in labels]).reshape(-1, 2)
    points = place(heatmap.unlike, heatmap.clustering.order, boxes)
    width, height = (points + boxes / 2).max(axis=0, initial=0.0) + 2 * _MARGIN
    spots = points + _MARGIN - [0.0, _BOX_HEIGHT / 2 - _SYMBOL_ABOVE]
    nodes = tuple(
        Node(i, round(spots[i, 0], 1), round(spots[i, 1], 1), *labels[i], keys[i], groups[i])
        for i in range(len(keys))
    )
    shown = 3 if len(keys) <= 16 else 2 if len(keys) <= 36 else 1
    return Graph(round(width), round(height), nodes, _arrows(heatmap, spots, keys), shown)


def _label(key: str) -> tuple[str, str]:
    site, _, task = key.partition("/")
    return shorten(task, _LABEL_LIMIT), shorten(site, _LABEL_LIMIT)


def _box(task: str, site: str) -> tuple[float, float]:
    return max(len(task), len(site), 6) * _CHARACTER + 14, _BOX_HEIGHT


def _arrows(heatmap: Heatmap, spots: Points, keys: list[str]) -> tuple[Arrow, ...]:
    arrows = []
    for source, target, rank in _nearest(heatmap, keys):
        shaft, head = _bent_arrow(spots[source], spots[target])
        cell = heatmap.cell(source, target)
        words = f"{keys[source]} → {keys[target]}: rank {cell.rank}, {heatmap.name} {cell.value}"
        arrows.append(Arrow(source, target, rank, shaft, head, words))
    return tuple(sorted(arrows, key=lambda arrow: -arrow.rank))


def _nearest(heatmap: Heatmap, keys: list[str]) -> list[tuple[int, int, int]]:
    """Source, target and place of each target's nearest sources; ties by address, as in the ranking."""
    nearest = []
    for target, ranks in enumerate(heatmap.ranks.T):
        sources = sorted(np.flatnonzero(ranks <= N_NEIGHBOURS), key=lambda i: (ranks[i], keys[i]))
        nearest += [(int(s), target, place) for place, s in enumerate(sources[:N_NEIGHBOURS], start=1)]
    return nearest


def _bent_arrow(start: Points, end: Points) -> tuple[str, str]:
    """A slight bend to one side keeps the arrows of a mutual pair apart."""
    along = end - start
    middle = (start + end) / 2 + _BEND * np.array([along[1], -along[0]])
    start = start + _GAP * _unit(middle - start)
    into = _unit(end - middle)
    tip, aside = end - _GAP * into, np.array([into[1], -into[0]])
    neck = tip - 7.0 * into
    wings = [neck + 3.6 * aside, neck - 3.6 * aside]
    shaft = f"M{_xy(start)}Q{_xy(middle)} {_xy(neck)}"
    return shaft, f"M{_xy(tip)}L{_xy(wings[0])}L{_xy(wings[1])}Z"


def _unit(vector: Points) -> Points:
    unit: Points = vector / max(float(np.hypot(*vector)), 1e-9)
    return unit


def _xy(point: Points) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
