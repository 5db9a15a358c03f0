"""A site's side of rounds of secure aggregation: what it agrees to, remembers, and says."""
