"""What puts sites and the aggregator together: the one-machine federation, the demo, the command line."""

SITE_THREAD = "fedprint-site"
"""How threads are named that run simulated sites."""
