"""Directed distances between tasks, by name: rows are sources, columns are targets, lower is better.

``get("js").matrix(sources, targets)`` compares sketches, or fingerprints that carry them, all pairs at once.
"""

from federation.distances.base import Comparable, Distance
from federation.distances.registry import (
    available,
    chosen,
    default_for,
    get,
    markdown_table,
    names,
    on_demand,
)

__all__ = [
    "Comparable",
    "Distance",
    "available",
    "chosen",
    "default_for",
    "get",
    "markdown_table",
    "names",
    "on_demand",
]
