"""Flower's SuperLink as a consortium runs it: guarded, and with a client of its own."""
