"""Local research: distances between raw features of all tasks, which a federation never sees side by side.

Nothing that runs at a site or at an aggregator imports this package; `lint-imports` checks it.
"""

NOT_FEDERATED = (
    "NOT FEDERATED: the raw features of all tasks were read together on one machine. No site of a federation "
    "would release them; use these numbers to judge the distances between fingerprints, not as a service."
)
