"""One attempt at a job, in the process that does the work: alone in the folder, and its end is recorded."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aggregator.hub_folder import HubFolder
from aggregator.jobs.queue import JobQueue
from federation.errors import BusyError, DeploymentError, FedprintError, StoreError
from federation.files import locked

log = logging.getLogger("fedprint.hub")


@dataclass(frozen=True)
class Attempt:
    """An attempt at a job of the queue.

    Args:
        queue: The queue; the job is in it.
        folder: The hub's folder.
        job_id: The job.
        flower_run: Flower's run of this attempt.
    """

    queue: JobQueue
    folder: HubFolder
    job_id: str
    flower_run: str

    def carry_out(self, work: Callable[[], object]) -> None:
        """Do the work unless the job has ended meanwhile, and record how it ended.

        What fedprint raises on purpose ends the job, with its code and text. Where the disk or the database
        failed, or something unexpected, the job is left to be begun again.

        Args:
            work: Does all of the job; what was done before is not done again.

        Raises:
            DeploymentError: If it could not be done; says no more than a code, because Flower keeps it.
        """
        # The first lock tells the runner that this process lives; the second keeps two of them apart.
        with locked(lock_of(self.folder, self.flower_run)), locked(self.folder.aggregator_lock):
            if self.queue.get(self.job_id).is_open:
                self._carry_out(work)

    def _carry_out(self, work: Callable[[], object]) -> None:
        log.info("the job begins")
        try:
            work()
        except StoreError as error:
            self._interrupted(str(error))
            raise _ended(error.code) from error
        except FedprintError as error:
            log.error("the job has failed: %s", error, extra={"code": error.code})
            self.queue.failed(self.job_id, error.code, str(error))
            raise _ended(error.code) from error
        except Exception as error:
            self._interrupted(f"{type(error).__name__}: {error}")
            raise _ended(FedprintError.code) from error
        self.queue.finished(self.job_id)
        log.info("the job is done")

    def _interrupted(self, reason: str) -> None:
        log.error("job %s was interrupted: %s", self.job_id, reason)
        self.queue.interrupted(self.job_id, self.flower_run, reason)


def lock_of(folder: HubFolder, flower_run: str) -> Path:
    """Return the file that an attempt's process holds locked while it lives."""
    return folder.runs / f"{flower_run}.lock"


def has_died(folder: HubFolder, flower_run: str) -> bool:
    """Return whether an attempt's process began to work and does no longer."""
    lock = lock_of(folder, flower_run)
    if not lock.exists():
        return False
    try:
        with locked(lock, wait=False):
            return True
    except BusyError:
        return False


def _ended(code: str) -> DeploymentError:
    return DeploymentError(f"the job ended with {code}", remedy="`fedprint hub jobs` says why")
