"""Carries the jobs of the queue to an end: begins them as Flower runs, watches, begins again what died."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aggregator.flower.control import FlowerRun
from aggregator.hub_folder import HubFolder
from aggregator.jobs.attempt import has_died, lock_of
from aggregator.jobs.job import Job
from aggregator.jobs.queue import JobQueue
from federation.errors import DeploymentError
from federation.files import remove_durably

log = logging.getLogger("fedprint.jobs")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_SIGNS_OF_DEATH = 2
"""Looks that must agree: a process that has just made its lock file holds no lock yet."""


class Runs(Protocol):
    """Flower's runs."""

    def start_run(self, config: dict[str, str | int | float | bool]) -> str:
        """Start a run and return its id."""

    def run(self, run_id: str) -> FlowerRun | None:
        """Return a run; None: there is none of that id."""

    def runs(self) -> list[FlowerRun]:
        """Return the latest runs."""

    def stop_run(self, run_id: str) -> None:
        """Stop a run that has not finished."""


@dataclass
class Runner:
    """Works on one job after another; all that it must not forget is in the queue.

    Args:
        queue: The jobs.
        flower: Where they are run.
        folder: The hub's folder.
        attempts: How often a job is begun before it is given up.
        clock: Seconds that only grow.
    """

    queue: JobQueue
    flower: Runs
    folder: HubFolder
    attempts: int
    clock: Callable[[], float] = time.monotonic
    _not_before: dict[str, float] = field(default_factory=dict)
    _leaving: set[str] = field(default_factory=set)
    _watched: str = ""
    _signs: int = 0

    def tidy(self) -> None:
        """Stop every run that nobody waits for: an earlier runner may have died between start and record.

        Raises:
            DeploymentError: If the SuperLink cannot be reached.
            StoreError: If the queue cannot be read.
        """
        job = self.queue.next()
        for run in self.flower.runs():
            if not run.is_finished and (job is None or run.run_id != job.flower_run):
                log.warning("run %s, which belongs to no job, is stopped", run.run_id)
                self.flower.stop_run(run.run_id)

    def tick(self) -> None:
        """Look after the job whose turn it is.

        Raises:
            DeploymentError: If the SuperLink cannot be reached.
            StoreError: If the queue cannot be read or written.
        """
        job = self.queue.next()
        self._see_off(job.flower_run if job else "")
        if job is None:
            return
        if job.flower_run:
            self._watch(job)
        elif self.clock() >= self._not_before.setdefault(job.job_id, self._due(job)):
            self._begin(job)

    def _see_off(self, current: str) -> None:
        """Ask for every run that ended until Flower says so: only then does it forget what was sent in it."""
        if self._watched not in ("", current):
            self._leaving.add(self._watched)
        self._watched = current
        for run_id in list(self._leaving):
            run = self.flower.run(run_id)
            if run is None or run.is_finished:
                remove_durably(lock_of(self.folder, run_id))
                self._leaving.discard(run_id)

    def _begin(self, job: Job) -> None:
        if job.attempts >= self.attempts:
            reason = f"{job.attempts} attempts died; the last one: {job.reason or 'without a word'}"
            self.queue.failed(job.job_id, DeploymentError.code, reason)
            self._not_before.pop(job.job_id, None)
            return
        config = {**job.arguments, "job": job.kind, "job-id": job.job_id}
        run_id = self.flower.start_run({**config, "hub-config": str(self.folder.config)})
        self._not_before.pop(job.job_id, None)
        self._signs, self._watched = 0, run_id
        self.queue.began(job.job_id, run_id)
        log.info("job %s (%s) has begun, attempt %d", job.job_id, job.kind, job.attempts + 1)

    def _watch(self, job: Job) -> None:
        run = self.flower.run(job.flower_run)
        if run is None:
            self._interrupted(job, "Flower has forgotten the run")
        elif run.is_finished:
            self._interrupted(job, run.details or f"Flower's run finished as {run.outcome}")
        elif self._looks_dead(job):
            self.flower.stop_run(job.flower_run)
            self._interrupted(job, "the aggregator's process was killed")

    def _looks_dead(self, job: Job) -> bool:
        self._signs = self._signs + 1 if has_died(self.folder, job.flower_run) else 0
        return self._signs >= _SIGNS_OF_DEATH

    def _interrupted(self, job: Job, reason: str) -> None:
        """Leave a job to be begun again, unless its process recorded an end before it died."""
        if self.queue.interrupted(job.job_id, job.flower_run, reason):
            log.warning("job %s was interrupted: %s", job.job_id, reason)
        self._signs = 0

    def _due(self, job: Job) -> float:
        """When a job may be begun: at once, and later after every attempt that died."""
        if not job.attempts:
            return self.clock()
        pause = min(_FIRST_PAUSE_S * float(2 ** (job.attempts - 1)), _LONGEST_PAUSE_S)
        return self.clock() + pause * random.uniform(0.5, 1.0)  # noqa: S311
