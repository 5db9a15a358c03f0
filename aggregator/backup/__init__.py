"""One file that holds all that an aggregator remembers, and how it is read into an empty place."""
