"""Measurements against the obvious alternative, in one run each; results are in docs/performance.md."""
