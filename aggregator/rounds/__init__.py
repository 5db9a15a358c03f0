"""Rounds of questions and answers between the aggregator and its sites."""
