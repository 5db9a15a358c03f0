"""A small transfer experiment as a job of a deployment, and moments of it."""

from dataclasses import dataclass

from faults import count_rows, see
from loopback import Consortium, Task

from aggregator.jobs.job import DONE
from aggregator.transfer.queue import Queue, find_plan
from site_agent.events import MODEL_LEFT
from site_agent.transfer.turn import BEGUN, FINISHED

IMAGES = 200


@dataclass
class TransferCase:
    """A plan of one transfer from ``anna`` to ``bern``, and the baseline of ``bern``.

    Args:
        consortium: Who takes part.
        number: Names task and plan.
    """

    consortium: Consortium
    number: int
    job_id: str = ""

    @property
    def name(self) -> str:
        return f"transfer-{self.number}"

    def ask(self) -> None:
        """Put the plan into the queue."""
        task = Task(self.name, "open", ("anna", "bern"), self.number, IMAGES)
        self.consortium.offer(task, transfer=True)
        plan = self.consortium.path / f"{self.name}.toml"
        plan.write_text(PLAN.format(name=self.name))
        self.job_id = self.consortium.ask("transfer", plan=str(plan))

    def finish(self) -> None:
        """Wait for the end of the job, which comes through."""
        job = self.consortium.ended(self.job_id)
        assert job.state == DONE, f"{job.code}: {job.reason}{self.consortium.tails()}"

    def verify(self) -> None:
        """Every experiment is measured, and no site did a step twice."""
        with self.consortium.catalogue() as catalogue:
            found = Queue(catalogue, find_plan(catalogue, self.name).plan_id).findings()
            outcomes = {(each.source, each.target) for each in catalogue.outcomes()}
        assert {(each.experiment.scenario, each.state, each.reason) for each in found} == {
            ("baseline", "done", ""),
            ("pretraining", "done", ""),
        }
        assert (f"anna/{self.name}", f"bern/{self.name}") in outcomes
        for site in ("anna", "bern"):
            for event in (BEGUN, FINISHED):
                steps = [each["step"] for each in self._events(site, event)]
                assert len(steps) == len(set(steps)), f"{site} has {event} one step twice"

    def _events(self, site: str, name: str) -> list[dict]:
        events = self.consortium.sites[site].events(name)
        return [event for event in events if event.get("task", self.name) == self.name]


PLAN = """
name = "{name}"
seeds = [0]
scenarios = ["pretraining"]
targets = ["bern/{name}"]
sources = ["anna/{name}"]
baselines = ["scratch"]
n_train = 40
slice_s = 60
[network]
name = "test_resnet"
image_size = 32
start = "scratch"
[source_training]
epochs = 2
draws = 32
batch_size = 16
[target_training]
epochs = 2
draws = 32
batch_size = 16
"""


def while_it_trains(case: TransferCase, site: str) -> None:
    """The site has begun a step."""
    see(lambda: case._events(site, BEGUN), "the begin of a step")


def once_a_model_leaves(case: TransferCase, site: str) -> None:
    """The source has written down that its model is about to leave."""
    see(lambda: case._events(site, MODEL_LEFT), "the departure of a model")


def once_a_step_is_done(case: TransferCase, site: str) -> None:
    """The hub has the result of a step."""
    path = case.consortium.hub.path / "catalogue.sqlite"
    asks = "SELECT count(*) FROM transfer_step WHERE state = 'done' AND instr(content, ?)"

    see(lambda: count_rows(path, asks, [case.name.encode()]), "the result of a step")
