"""The language that sites and the aggregator share: spaces, sketches, fingerprints, distances, messages."""

__version__ = "0.1.0"
