"""Describing a dataset in words and six visual properties, by one person or several."""
