"""How far a plan is, read from the catalogue while the aggregator writes it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.store import Catalogue
from aggregator.transfer.experiment import Finding
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.queue import RUNNING, Queue, QueuedStep, plan_id_of
from deploy.transfer_display import SiteAtWork, Standing, say_step
from federation.errors import FedprintError
from federation.transfer.step import step_from_json


@dataclass
class Watch:
    """A plan that is being carried out.

    Args:
        catalogue: File of the catalogue.
        plan: The plan.
        began: When this run began, seconds of the monotonic clock.
    """

    catalogue: Path
    plan: TransferPlan
    began: float = field(default_factory=time.monotonic)
    _ended_before: int | None = None

    def has_fingerprints(self) -> bool:
        """Return whether the catalogue knows any task."""
        with suppress(FedprintError), self._open() as catalogue:
            return bool(catalogue.listings(catalogue.latest_space()))
        return False

    def findings(self) -> list[Finding]:
        """Return how far every experiment is.

        Raises:
            StoreError: If the catalogue cannot be read.
        """
        with self._open() as catalogue:
            return self._queue(catalogue).findings()

    def standing(self) -> Standing | None:
        """Return how far the plan is; None where that cannot be said now."""
        with suppress(FedprintError), self._open() as catalogue:
            queue = self._queue(catalogue)
            findings = queue.findings()
            states = [finding.state for finding in findings]
            ended = states.count("done") + states.count("failed")
            running = [step for step in queue.steps() if step.state == RUNNING and step.site]
            return Standing(
                states.count("done"),
                states.count("failed"),
                len(states),
                self._seconds_left(ended, len(states)),
                tuple(at_work(step) for step in running),
            )
        return None

    def _seconds_left(self, ended: int, total: int) -> float | None:
        """Return what the rest takes if it goes on as it went in this run."""
        if self._ended_before is None:
            self._ended_before = ended
        here = ended - self._ended_before
        return (time.monotonic() - self.began) / here * (total - ended) if here else None

    def _queue(self, catalogue: Catalogue) -> Queue:
        return Queue(catalogue, plan_id_of(self.plan))

    @contextmanager
    def _open(self) -> Iterator[Catalogue]:
        catalogue = Catalogue(self.catalogue)
        try:
            yield catalogue
        finally:
            catalogue.close()


def at_work(step: QueuedStep) -> SiteAtWork:
    """Return what a site does, in words."""
    doing = say_step(step_from_json(step.content))
    progress = step.progress
    return SiteAtWork(step.site, doing, *((progress.epoch, progress.epochs) if progress else ()))
