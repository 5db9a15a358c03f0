"""Secure aggregation: a cohort of sites publishes the sum of its vectors and nothing else.

Double masking with Shamir recovery (Bonawitz et al. 2017, "Practical Secure Aggregation for
Privacy-Preserving Machine Learning", CCS, against active adversaries), on the complete graph or, for large
cohorts, on a regular one (Bell et al. 2020, "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead", CCS).

Both sides are pure state machines: a step consumes one state and a message, and returns the next of both.
Nothing here reads a clock, a disk or a network.
"""
