"""A plan from roll call to outcomes, against sites that answer from a table."""

import pytest
from transfer_sites import FakeClock, FakeSite, ScriptedGrid, hub_of

from aggregator.store import Catalogue
from aggregator.transfer.job import Conditions, run_transfer_job
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.queue import Queue, find_plan

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
    "co_training": {"rounds": 2},
}


def plan_of(**changes):
    return TransferPlan.model_validate(PLAN | changes)


@pytest.fixture
def sites():
    return [FakeSite("anna", ["eyes"]), FakeSite("bern", ["skin"]), FakeSite("cork", ["lung"])]


class Consortium:
    def __init__(self, folder, sites, **hub):
        self.folder, self.sites = folder, sites
        self.hub = hub_of(folder, sites, **hub)
        self.grid = ScriptedGrid(sites)
        self.clock = FakeClock()

    def run(self, plan, **conditions):
        told = Conditions(**({"roll_call_s": 0.02, "clock": self.clock} | conditions))
        return run_transfer_job(self.grid, self.hub, "job-1", plan, told)

    def catalogue(self):
        return Catalogue(self.hub.catalogue)

    def findings(self, name="test"):
        catalogue = self.catalogue()
        return Queue(catalogue, find_plan(catalogue, name).plan_id).findings()

    def asked(self):
        return [(request.step.site, request.step.kind) for request in self.grid.requests]

    def steps(self):
        return list({request.step.step_id: request.step for request in self.grid.requests}.values())


@pytest.fixture
def consortium(tmp_path, sites):
    return Consortium(tmp_path, sites)


def test_every_experiment_of_a_plan_is_measured(consortium):
    summary = consortium.run(plan_of(seeds=(0, 1)))
    assert (summary.done, summary.failed) == (2 * (6 + 6), 0)
    assert {finding.state for finding in consortium.findings()} == {"done"}
