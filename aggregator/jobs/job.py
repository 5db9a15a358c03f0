"""One job of the queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FINGERPRINT, CALIBRATE, TRANSFER = "fingerprint", "calibrate", "transfer"
KINDS = (FINGERPRINT, CALIBRATE, TRANSFER)

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
STATES = (WAITING, RUNNING, DONE, FAILED)
OPEN = (WAITING, RUNNING)


@dataclass(frozen=True)
class Job:
    """A job and how far it is.

    Args:
        job_id: What identifies it; every attempt at it uses the same.
        kind: What is to be done: ``fingerprint``, ``calibrate`` or ``transfer``.
        arguments: What it is done with, such as the cohort or the plan; strings, numbers and booleans.
        state: One of ``STATES``.
        code: Code of the error that ended it; empty unless it failed.
        reason: Why it failed, or why the last attempt did; for the operator's eyes.
        attempts: How often it was begun.
        flower_run: Id of Flower's run of the latest attempt; empty before the first and between two.
        asked_at: Unix time in seconds at which it was asked for.
        began_at: Likewise, of the latest attempt; None before the first.
        finished_at: Likewise, of its end; None before.
    """

    job_id: str
    kind: str
    arguments: Mapping[str, Any]
    state: str
    code: str
    reason: str
    attempts: int
    flower_run: str
    asked_at: float
    began_at: float | None
    finished_at: float | None

    @property
    def is_open(self) -> bool:
        """Whether it has not come to its end."""
        return self.state in OPEN
