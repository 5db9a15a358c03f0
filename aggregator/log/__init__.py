"""The log of an aggregator: how it is written, signed, shown to sites and verified."""
