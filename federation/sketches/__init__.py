"""Additive integer sketches of a task, by kind."""

from federation.sketches.base import Sensitivity, Sketch
from federation.sketches.cdf import CdfSketch
from federation.sketches.fisher import FisherSketch
from federation.sketches.histogram import HistogramSketch
from federation.sketches.kinds import KINDS, decode_sketch, encode_arrays, kind, zeros
from federation.sketches.mean_embedding import MeanEmbeddingSketch
from federation.sketches.moments import MomentSketch

__all__ = [
    "KINDS",
    "CdfSketch",
    "FisherSketch",
    "HistogramSketch",
    "MeanEmbeddingSketch",
    "MomentSketch",
    "Sensitivity",
    "Sketch",
    "decode_sketch",
    "encode_arrays",
    "kind",
    "zeros",
]
