"""A site's own copy of what an aggregator's log said about it, and what the site makes of it."""
