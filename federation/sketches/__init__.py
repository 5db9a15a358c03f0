"""Additive integer sketches of a task, by kind."""

from federation.sketches.base import Sensitivity, Sketch
from federation.sketches.histogram import HistogramSketch
from federation.sketches.kinds import KINDS, decode_sketch, encode_arrays, kind, zeros

__all__ = [
    "KINDS",
    "HistogramSketch",
    "Sensitivity",
    "Sketch",
    "decode_sketch",
    "encode_arrays",
    "kind",
    "zeros",
]
