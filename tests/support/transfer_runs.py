"""A whole consortium for transfer plans: fake sites, a hub's folder, and what a run left in it."""

from transfer_sites import FakeClock, ScriptedGrid, hub_of

from aggregator.store import Catalogue
from aggregator.transfer.job import Conditions, run_transfer_job
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.queue import Queue, find_plan
from federation.transfer.result import Score

PLAN = {
    "name": "test",
    "seeds": (0,),
    "scenarios": ("pretraining",),
    "n_train": 40,
    "deadline_s": 60.0,
    "slice_s": 1.0,
    "network": {"name": "test_resnet", "image_size": 32},
    "source_training": {"epochs": 2},
    "target_training": {"epochs": 3},
    "architecture": {"networks": ("timm:test_resnet", "timm:test_vit", "timm:test_efficientnet")},
    "co_training": {"rounds": 3},
    "combined": {"parts": ("architecture", "pretraining", "augmentation")},
}


def plan_of(**changes):
    return TransferPlan.model_validate(PLAN | changes)


def score(value):
    return Score(value=value, low=value, high=value)


class Consortium:
    """Sites and an aggregator; what it knows is on disk, so that every run is that of a new process."""

    def __init__(self, folder, sites, **hub):
        self.sites = {site.name: site for site in sites}
        self.hub = hub_of(folder, sites, **hub)
        self.grid = ScriptedGrid(sites)
        self.clock = FakeClock()

    def run(self, plan, **conditions):
        told = {"roll_call_s": 60.0, "clock": self.clock} | conditions
        return run_transfer_job(self.grid, self.hub, "job-1", plan, Conditions(**told))

    def catalogue(self):
        return Catalogue(self.hub.catalogue)

    def queue(self, name="test"):
        catalogue = self.catalogue()
        return Queue(catalogue, find_plan(catalogue, name).plan_id)

    def findings(self, name="test"):
        return self.queue(name).findings()

    def finding(self, scenario, source, target, seed=0):
        return next(
            each
            for each in self.findings()
            if (each.experiment.scenario, each.experiment.source or each.experiment.arm) == (scenario, source)
            and (each.experiment.target, each.experiment.seed) == (target, seed)
        )

    def steps(self):
        """Every step that was ever asked, once, in the order in which it was asked first."""
        return list({each.step.step_id: each.step for each in self.grid.requests}.values())

    def reasons(self):
        return {finding.reason for finding in self.findings() if finding.state == "failed"}
