"""What noise does to the values on the page, in words."""

import numpy as np

from aggregator.report.data import Matrix, ReportData
from aggregator.report.words import say_plural, say_value


def say_uncertainty(report: ReportData) -> str:
    """Return how many tasks carry noise and how uncertain the distance shown first is; empty if none does."""
    n_noisy = sum(not task.privacy.is_exact for task in report.tasks)
    if not n_noisy:
        return ""
    carriers = f"{say_plural(n_noisy, 'task')} {'carries' if n_noisy == 1 else 'carry'} noise."
    return f"{carriers} {_say_errors(report.distance, report.standard_errors.get(report.distance))}"


def _say_errors(distance: str, errors: Matrix | None) -> str:
    known = np.array([]) if errors is None else errors[np.isfinite(errors) & (errors > 0)]
    if not known.size:
        return f"How far it moves {distance} is not known; l2, cramer and cdf-l2 are made to say so."
    spread = f"{say_value(float(known.min()))} to {say_value(float(known.max()))}"
    return (
        f"What it adds to {distance} on average is subtracted, so that small values can be negative; "
        f"standard errors of {spread} remain. Sources whose values differ by less than two standard errors "
        "of their difference are marked ≈: take them as equals."
    )
