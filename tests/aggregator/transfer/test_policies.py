"""What policies forbid becomes a failed experiment with its reason; nothing else does."""

import pytest
from transfer_runs import Consortium, plan_of
from transfer_sites import EXACT, FakeSite

from federation.errors import UnknownNameError


def consortium_of(folder, **offers):
    tasks = {"anna": "eyes", "bern": "skin", "cork": "lung"}
    sites = [FakeSite(name, [task], EXACT | offers.get(name, {})) for name, task in tasks.items()]
    return Consortium(folder, sites)


def test_a_task_that_takes_no_part_fails_as_source_and_target(tmp_path):
    consortium = consortium_of(tmp_path, bern={"measured": False})
    consortium.run(plan_of(targets=("anna/eyes", "bern/skin"), sources=("bern/skin", "cork/lung")))
    assert consortium.finding("pretraining", "bern/skin", "anna/eyes").reason == "policy at bern"
    assert consortium.finding("pretraining", "cork/lung", "bern/skin").reason == "policy at bern"
    assert consortium.finding("pretraining", "cork/lung", "anna/eyes").state == "done"
    assert not [step for step in consortium.steps() if step.site == "bern"]


def test_where_no_model_may_leave_rankings_still_do(tmp_path):
    consortium = consortium_of(tmp_path, bern={"models": ""})
    consortium.run(plan_of(scenarios=("pretraining", "architecture", "augmentation", "co_training")))
    of_bern = [each for each in consortium.findings() if each.experiment.source == "bern/skin"]
    assert {each.experiment.scenario: each.reason for each in of_bern} == {
        "pretraining": "policy at bern",
        "architecture": "",
        "augmentation": "",
        "co_training": "policy at bern",
    }


def test_models_travel_only_where_they_may(tmp_path):
    consortium = consortium_of(tmp_path, anna={"models_to": ("cork",)})
    consortium.run(plan_of())
    trained = next(step for step in consortium.steps() if step.site == "anna" and step.travels_to)
    assert trained.travels_to == ("cork",)
    assert consortium.finding("pretraining", "anna/eyes", "bern/skin").reason == "policy at anna"
    assert consortium.finding("pretraining", "anna/eyes", "cork/lung").state == "done"


def test_a_target_that_may_not_measure_costs_its_source_nothing(tmp_path):
    consortium = consortium_of(tmp_path, bern={"measured": False})
    consortium.run(plan_of(targets=("bern/skin",), sources=("anna/eyes",)))
    assert consortium.steps() == []
    assert consortium.reasons() == {"policy at bern"}


def test_a_network_that_a_site_does_not_allow_is_never_its_best(tmp_path):
    consortium = consortium_of(tmp_path, anna={"networks": ("timm:test_resnet", "timm:test_vit")})
    consortium.run(plan_of(scenarios=("architecture",), targets=("bern/skin",), sources=("anna/eyes",)))
    ranked = {step.network.name for step in consortium.steps() if step.site == "anna"}
    assert ranked == {"test_resnet", "test_vit"}
    assert consortium.finding("architecture", "anna/eyes", "bern/skin").state == "done"


def test_a_source_whose_models_leave_only_private_trains_with_noise(tmp_path):
    private = {"anna": {"models": "private", "max_rho": "1/2"}}
    without = consortium_of(tmp_path / "without", **private)
    without.run(plan_of())
    assert without.finding("pretraining", "anna/eyes", "bern/skin").reason == "policy at anna"
    # Two epochs at σ = 1 cost ρ = 1, at σ = 2 only 1/4.
    for noise, reason in ((1.0, "policy at anna"), (2.0, "model at anna")):
        told = consortium_of(tmp_path / str(noise), **private)
        told.run(plan_of(private={"noise_multiplier": noise}))
        assert told.finding("pretraining", "anna/eyes", "bern/skin").reason == reason
        trained = [step for step in told.steps() if step.site == "anna" and step.travels_to]
        assert all(step.recipe.private.noise_multiplier == noise for step in trained)
        assert told.finding("pretraining", "bern/skin", "anna/eyes").state == "done"


@pytest.mark.parametrize("nonsense", ["much", "1/0", "-1"])
def test_a_budget_that_is_nonsense_pays_for_nothing(tmp_path, nonsense):
    consortium = consortium_of(tmp_path, anna={"models": "private", "max_rho": nonsense})
    consortium.run(plan_of(private={"noise_multiplier": 2.0}))
    assert consortium.finding("pretraining", "anna/eyes", "bern/skin").reason == "policy at anna"


def test_a_site_that_allows_more_later_is_asked_then(tmp_path):
    consortium = consortium_of(tmp_path, bern={"measured": False})
    consortium.run(plan_of())
    consortium.sites["bern"].offers = FakeSite("bern", ["skin"]).offers
    assert consortium.run(plan_of()).failed == 0


def test_a_plan_that_names_a_stranger_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="dora/x"):
        consortium_of(tmp_path).run(plan_of(targets=("dora/x",)))
