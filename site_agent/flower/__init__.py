"""Flower's processes at a site, guarded."""
