"""One slice of work on a step: begin it or go on, and keep how far it is or how it ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from federation.errors import BusyError, DataError, FedprintError, NotReleasableError, TransferError
from federation.transfer.result import Progress
from federation.transfer.step import CotrainStep
from site_agent.events import TRANSFER_FAILED
from site_agent.transfer.arrival import store_of
from site_agent.transfer.departure import let_leave, require_means
from site_agent.transfer.figures import require_enough_measured, require_steps_left
from site_agent.transfer.pending_model import PENDING_FILE
from site_agent.transfer.room import require_room
from site_agent.transfer.step_files import Ended, Running, StepFiles
from site_agent.transfer.work import Asked, Work

BEGUN, FINISHED, FAILED = "transfer-begun", "transfer-finished", TRANSFER_FAILED
"""What the site's log calls the beginning and the ends of a step, and one that could not go on for now."""


@dataclass(frozen=True)
class Turn:
    """The turn of one step; meanwhile the site works on no other.

    Args:
        asked: The step, which the policy allows.
        files: What is kept of it.
        open_work: Opens its work where it stopped.
    """

    asked: Asked
    files: StepFiles
    open_work: Callable[[Asked], Work]

    def take(self, slice_s: float) -> Running | Ended:
        """Work for a while, and return how far the step is or how it ended; either is durable then.

        A step that cannot be done has ended too. What is busy, full or late here, or forbidden for now, is
        raised instead: the step goes on when it is asked for again.

        Raises:
            FedprintError: If it cannot go on for now.
        """
        require_means(self.asked)
        running = self.files.running()
        self._require_room(begins=running is None)
        running = running or self._begin()
        temporary = Work.temporary
        try:
            work = self.open_work(self.asked)
            temporary = work.temporary
            running = self._advance(work, running, slice_s)
            return self._finish(work, running) if work.finished else running
        except BusyError:
            raise
        except DataError as error:
            raise self._told(error) from error
        except TransferError as error:
            failed = self._ended(running, temporary, code=error.code, text=str(error))
            self.files.end(failed)
            self._record(FAILED, code=error.code, text=str(error))
            return failed

    def _require_room(self, *, begins: bool) -> None:
        site = self.asked.site
        require_room(site.state.folder, site.config.transfer.work_mb * 2**20, begins=begins)

    def _begin(self) -> Running:
        require_steps_left(self.asked)
        step, job = self.asked.step, self.asked.job
        running = Running(step=step, job_id=job.job_id, began=round(time.time(), 3))
        self.files.keep(running)
        self._record(BEGUN)
        return running

    def _advance(self, work: Work, running: Running, slice_s: float) -> Running:
        if work.finished:
            return running
        began = time.monotonic()
        progress = self._without_loss(work.advance(min(slice_s, self._seconds_left())))
        seconds = round(running.seconds + time.monotonic() - began, 3)
        running = running.model_copy(update={"progress": progress, "seconds": seconds})
        self.files.keep(running)
        return running

    def _finish(self, work: Work, running: Running) -> Ended:
        found, model = work.result()
        require_enough_measured(self.asked, found)
        timed = found if found.seconds else found.model_copy(update={"seconds": running.seconds})
        result, model = let_leave(self.asked, timed, model)
        if model:
            store = store_of(self.asked.site)
            keep = store.keep_passing if isinstance(self.asked.step, CotrainStep) else store.keep_made
            keep(model)
        ended = self._ended(running, (*work.temporary, PENDING_FILE), result=result)
        self.files.end(ended)
        self._record(FINISHED)
        return ended

    def _told(self, error: DataError) -> FedprintError:
        """Give what stands against data that noise protects the one code that every such release has."""
        private = self.asked.step.recipe.private is not None
        return NotReleasableError(error.problem, remedy=error.remedy) if private else error

    def _seconds_left(self) -> float:
        return max(0.0, self.asked.job.deadline - time.time())

    def _without_loss(self, progress: Progress) -> Progress:
        """Leave out a loss that no noise covers."""
        private = self.asked.step.recipe.private is not None
        return progress.model_copy(update={"loss": None}) if private else progress

    def _ended(self, running: Running, temporary: tuple[str, ...], **how: Any) -> Ended:
        known = {"step": running.step, "job_id": running.job_id, "began": running.began}
        return Ended(**known, ended=round(time.time(), 3), temporary=temporary, **how)

    def _record(self, event: str, **told: str) -> None:
        step, job = self.asked.step, self.asked.job
        self.asked.site.state.record(
            event,
            job=job.job_id,
            step=step.step_id,
            kind=step.kind,
            task=step.task,
            network=str(step.network),
            **told,
        )
