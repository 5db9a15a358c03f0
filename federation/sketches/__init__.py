"""Additive integer sketches of a task, by kind."""

from federation.sketches.base import Sensitivity, Sketch
from federation.sketches.histogram import HistogramSketch

KINDS: dict[str, type[Sketch]] = {HistogramSketch.kind: HistogramSketch}

__all__ = ["KINDS", "HistogramSketch", "Sensitivity", "Sketch"]
