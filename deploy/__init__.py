"""What puts sites and the aggregator together: the one-machine federation, the demo, the command line."""

SITE_THREAD = "fedprint-site"
"""How threads are named that run simulated sites."""

INTERRUPTED = 130
"""Exit status of a run that was stopped by hand."""

INCOMPLETE = 3
"""Exit status of a run that finished without some of its sites, tasks or experiments."""

REPORTS_FOLDER = "transfer"
"""Folder beside the catalogue with a folder per plan of transfer experiments."""
