"""Who is not in the catalogue after a run, and why."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Missing:
    """A site, cohort or task that is not in the catalogue after the run.

    Args:
        site: Name of the site or cohort.
        task: Name of the task, empty when the whole site is missing.
        code: Why.
    """

    site: str
    task: str
    code: str
