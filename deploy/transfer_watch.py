"""How far a plan is, read from the catalogue while the aggregator writes it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aggregator.store import Catalogue
from aggregator.transfer.experiment import Finding
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.queue import Queue, QueuedStep, plan_id_of
from aggregator.transfer.status import read_status
from deploy.transfer_display import SiteAtWork, Standing, say_step
from federation.errors import FedprintError
from federation.transfer.step import step_from_json


@dataclass(frozen=True)
class Watch:
    """A plan that is being carried out.

    Args:
        catalogue: File of the catalogue.
        plan: The plan.
    """

    catalogue: Path
    plan: TransferPlan

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
            found = read_status(catalogue, self.plan.name)
            running = (site.running for site in found.sites)
            return Standing(
                found.counts["done"],
                found.counts["failed"],
                len(found.findings),
                found.seconds_left,
                tuple(at_work(step) for step in running if step is not None),
            )
        return None

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
