"""``fedprint transfer status``: how far a plan is, from the catalogue alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from aggregator.store import Catalogue
from aggregator.transfer.experiment import Finding
from aggregator.transfer.queue import RUNNING, KnownPlan, Queue, find_plan
from deploy.transfer_display import SiteAtWork
from deploy.transfer_results import findings_json
from deploy.transfer_watch import at_work

_STATES = ("done", "failed", "running", "waiting")


@dataclass(frozen=True)
class Status:
    """How far a plan is.

    Args:
        known: The plan.
        findings: How far every experiment is.
        sites: What sites are doing, as far as they told.
    """

    known: KnownPlan
    findings: tuple[Finding, ...]
    sites: tuple[SiteAtWork, ...]

    @classmethod
    def read(cls, catalogue: Catalogue, name: str = "") -> "Status":
        """Return how far the plan of a name is that was begun last, by default of any.

        Raises:
            UnknownNameError: If there is none.
        """
        known = find_plan(catalogue, name)
        queue = Queue(catalogue, known.plan_id)
        running = (step for step in queue.steps() if step.state == RUNNING and step.site)
        return cls(known, tuple(queue.findings()), tuple(at_work(step) for step in running))

    def count(self, state: str) -> int:
        """Return how many experiments are in a state."""
        return sum(finding.state == state for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        return {
            "plan": self.known.plan.name,
            "plan_id": self.known.plan_id,
            "began_at": self.known.began_at,
            "finished_at": self.known.finished_at,
            "experiments": {state: self.count(state) for state in _STATES},
            "sites": [_site_json(each) for each in self.sites],
            "findings": findings_json(self.findings),
        }

    def table(self) -> Table:
        """Return how many experiments of each scenario are in which state."""
        title = f"plan {self.known.plan.name}: {self.count('done')} of {len(self.findings)} experiments done"
        table = Table("scenario", *_STATES, box=box.SIMPLE_HEAD, title=title, title_justify="left")
        for scenario in dict.fromkeys(finding.experiment.scenario for finding in self.findings):
            states: list[str] = [f.state for f in self.findings if f.experiment.scenario == scenario]
            table.add_row(scenario.replace("_", "-"), *(str(states.count(state)) for state in _STATES))
        return table

    def lines(self) -> Iterable[str]:
        """Yield what sites are doing, and whether anybody still works on it."""
        for each in self.sites:
            epochs = f", epoch {each.epoch} of {each.epochs}" if each.epochs else ""
            yield f"{each.site}: {each.doing}{epochs}"
        if self.known.finished_at is None and not self.sites:
            yield "interrupted, or just begun; the same command goes on where it stopped"


def _site_json(each: SiteAtWork) -> dict[str, Any]:
    return {"site": each.site, "doing": each.doing, "epoch": each.epoch, "epochs": each.epochs}
