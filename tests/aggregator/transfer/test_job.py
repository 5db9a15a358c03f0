"""A plan from roll call to outcomes, against sites that answer from a table."""

from collections import Counter

import pytest
from transfer_runs import Consortium, plan_of
from transfer_sites import FakeSite, policy_of, score_of

from aggregator.transfer.models import ModelFiles

ALL = ("pretraining", "architecture", "augmentation", "co_training", "combined")


@pytest.fixture
def consortium(tmp_path, place):
    sites = [FakeSite("anna", ["eyes"]), FakeSite("bern", ["skin"]), FakeSite("cork", ["lung"])]
    return Consortium(tmp_path, sites, catalogue=place)


def test_every_experiment_of_a_plan_is_measured(consortium):
    summary = consortium.run(plan_of(seeds=(0, 1), scenarios=ALL))
    assert (summary.done, summary.failed) == (2 * (3 * 2 + 5 * 6), 0)
    assert {finding.state for finding in consortium.findings()} == {"done"}


def test_a_source_is_trained_once_for_all_its_targets(consortium):
    consortium.run(plan_of())
    sources = [step for step in consortium.steps() if step.kind == "train" and step.travels_to]
    assert sorted(step.address for step in sources) == ["anna/eyes", "bern/skin", "cork/lung"]
    assert sources[0].travels_to == tuple(
        site for site in ("anna", "bern", "cork") if site != sources[0].site
    )


def test_baselines_are_shared_by_all_scenarios(consortium):
    consortium.run(plan_of(scenarios=ALL))
    plain = [step for step in consortium.steps() if step.kind == "train" and step.n_train == 40]
    baselines = [
        step
        for step in plain
        if step.start in ("imagenet", "scratch")
        and step.augmentation is None
        and step.network.name == "test_resnet"
    ]
    assert Counter((step.address, step.start) for step in baselines) == {
        (address, start): 1
        for address in ("anna/eyes", "bern/skin", "cork/lung")
        for start in ("imagenet", "scratch")
    }


def test_pretraining_begins_at_the_model_of_the_source(consortium):
    consortium.run(plan_of(targets=("bern/skin",), sources=("anna/eyes",)))
    source = next(step for step in consortium.steps() if step.travels_to)
    target = next(step for step in consortium.steps() if step.model_id is not None)
    assert (source.address, target.address) == ("anna/eyes", "bern/skin")
    assert target.start == consortium.sites["anna"].done[source.step_id][0].model_id
    assert (source.n_train, target.n_train) == (None, 40)
    assert (source.recipe.epochs, target.recipe.epochs) == (2, 3)


def test_the_best_network_by_validation_auroc_is_used_at_the_target(consortium):
    consortium.run(plan_of(scenarios=("architecture",), targets=("bern/skin",), sources=("anna/eyes",)))
    ranked = [step for step in consortium.steps() if step.site == "anna"]
    assert {step.measure for step in ranked} == {"validation"}
    assert len(ranked) == 3
    best = max(ranked, key=score_of).network
    finding = consortium.finding("architecture", "anna/eyes", "bern/skin")
    last = next(step for step in consortium.steps() if step.step_id == finding.steps[-1])
    assert (last.network, last.start, last.measure) == (best, "scratch", "test")


def test_the_policy_that_a_source_found_is_used_at_the_target(consortium):
    consortium.run(plan_of(scenarios=("augmentation",), targets=("bern/skin",), sources=("anna/eyes",)))
    search = next(step for step in consortium.steps() if step.kind == "search")
    used = next(step for step in consortium.steps() if step.augmentation is not None)
    assert (search.address, used.address) == ("anna/eyes", "bern/skin")
    assert used.augmentation == policy_of(search)


def test_cotraining_averages_between_rounds_and_only_the_target_needs_the_last(consortium):
    consortium.run(plan_of(scenarios=("co_training",), targets=("bern/skin",), sources=("anna/eyes",)))
    rounds = [step for step in consortium.steps() if step.kind == "cotrain"]
    assert sorted((step.round, step.site) for step in rounds) == [
        (0, "anna"), (0, "bern"), (1, "anna"), (1, "bern"), (2, "bern"),
    ]  # fmt: skip
    by_round = {step.round: step for step in rounds}
    assert by_round[0].start == "imagenet"
    assert by_round[1].model_id not in (None, by_round[2].model_id)
    assert {step.recipe.epochs for step in rounds} == {1}
    assert {step.site: step.n_train for step in rounds} == {"anna": None, "bern": 40}


def test_of_a_common_training_only_the_last_average_stays(consortium):
    plan = plan_of(scenarios=("co_training",), targets=("bern/skin",), sources=("anna/eyes",))
    consortium.run(plan)
    last = next(step for step in consortium.steps() if step.kind == "cotrain" and step.round == 2)
    models = ModelFiles.beside(consortium.hub.catalogue)
    assert [path.stem for path in models.folder.iterdir()] == [last.model_id]
    asked = len(consortium.grid.requests)
    assert consortium.run(plan).failed == 0
    assert len(consortium.grid.requests) == asked


def test_without_shrinking_both_directions_are_one_common_training(consortium):
    told = {"targets": ("anna/eyes", "bern/skin"), "sources": ("anna/eyes", "bern/skin")}
    consortium.run(plan_of(scenarios=("co_training",), n_train=0, **told))
    assert len({step.group for step in consortium.steps() if step.kind == "cotrain"}) == 1


def test_a_group_trains_together_and_every_member_is_a_target(consortium):
    group = ("anna/eyes", "bern/skin", "cork/lung")
    summary = consortium.run(
        plan_of(scenarios=("co_training",), co_training={"groups": (group,), "rounds": 3})
    )
    assert summary.failed == 0
    found = [each for each in consortium.findings() if each.experiment.scenario == "co_training"]
    assert sorted((each.experiment.source, each.experiment.target) for each in found) == [
        ("anna/eyes + bern/skin", "cork/lung"),
        ("anna/eyes + cork/lung", "bern/skin"),
        ("bern/skin + cork/lung", "anna/eyes"),
    ]
    assert len({step.group for step in consortium.steps() if step.kind == "cotrain"}) == 1


def test_combined_uses_network_weights_and_policy_of_one_source(consortium):
    consortium.run(plan_of(scenarios=ALL, targets=("bern/skin",), sources=("anna/eyes",)))
    finding = consortium.finding("combined", "anna/eyes", "bern/skin")
    by_id = {step.step_id: step for step in consortium.steps()}
    last = by_id[finding.steps[-1]]
    assert last.augmentation is not None
    trained = next(
        step
        for step in by_id.values()
        if step.site == "anna"
        and step.network == last.network
        and getattr(step, "travels_to", ())
        and step.kind == "train"
        and step.start == "scratch"
    )
    assert last.start == consortium.sites["anna"].done[trained.step_id][0].model_id
    shared = consortium.finding("architecture", "anna/eyes", "bern/skin").steps[:3]
    assert finding.steps[:3] == shared


def test_a_finding_is_compared_with_the_arm_of_the_same_start(consortium):
    consortium.run(plan_of(scenarios=("pretraining", "architecture")))
    imagenet = consortium.finding("baseline", "imagenet", "bern/skin").scores["auroc"].value
    scratch = consortium.finding("baseline", "scratch", "bern/skin").scores["auroc"].value
    assert consortium.finding("pretraining", "anna/eyes", "bern/skin").baseline["auroc"] == imagenet
    assert consortium.finding("architecture", "anna/eyes", "bern/skin").baseline["auroc"] == scratch


def test_a_site_without_published_weights_is_compared_with_scratch(consortium):
    honest = consortium.sites["bern"].work

    def without_weights(request):
        if request.step.start == "imagenet":
            return consortium.sites["bern"].reply(request, "extractor")
        return honest(request)

    consortium.sites["bern"].work = without_weights
    consortium.run(plan_of(targets=("bern/skin",), sources=("anna/eyes",)))
    assert consortium.finding("baseline", "imagenet", "bern/skin").reason == "extractor at bern"
    scratch = consortium.finding("baseline", "scratch", "bern/skin").scores["auroc"].value
    assert consortium.finding("pretraining", "anna/eyes", "bern/skin").baseline["auroc"] == scratch


def test_a_baseline_that_failed_is_not_replaced_by_a_weaker_one(consortium):
    site = consortium.sites["bern"]

    def diverges(request, reply):
        return site.reply(request, "training") if request.step.start == "imagenet" else reply

    site.twist = diverges
    consortium.run(plan_of(targets=("bern/skin",), sources=("anna/eyes",)))
    assert consortium.finding("baseline", "scratch", "bern/skin").state == "done"
    finding = consortium.finding("pretraining", "anna/eyes", "bern/skin")
    assert finding.state == "done"
    assert finding.baseline == {}


def test_the_same_plan_over_the_same_sites_asks_for_the_same_steps(tmp_path):
    found = []
    for name in ("first", "second"):
        sites = [FakeSite("anna", ["eyes"]), FakeSite("bern", ["skin"]), FakeSite("cork", ["lung"])]
        consortium = Consortium(tmp_path / name, sites, key=tmp_path / "hub.key")
        consortium.run(plan_of(scenarios=ALL))
        found.append(([step.step_id for step in consortium.steps()], consortium.findings()))
    assert found[0] == found[1]


def test_run_again_nothing_is_asked_twice(consortium):
    consortium.run(plan_of(scenarios=ALL))
    before = consortium.findings()
    consortium.grid.requests.clear()
    consortium.run(plan_of(scenarios=ALL))
    assert consortium.grid.requests == []
    assert consortium.findings() == before


def test_a_larger_plan_uses_what_a_smaller_one_found(consortium):
    consortium.run(plan_of(name="small"))
    consortium.grid.requests.clear()
    consortium.run(plan_of(name="large", seeds=(0, 1)))
    assert {step.seed for step in consortium.steps()} == {1}


def test_models_are_kept_once_under_their_content(consortium):
    consortium.run(plan_of())
    files = sorted((consortium.hub.catalogue.folder / "models").iterdir())
    assert len(files) == 3


def test_a_lost_model_is_asked_for_again(consortium):
    consortium.sites["bern"].codes["skin"] = "memory"
    consortium.run(plan_of())
    for file in (consortium.hub.catalogue.folder / "models").iterdir():
        file.unlink()
    del consortium.sites["bern"].codes["skin"]
    summary = consortium.run(plan_of(), retry_failed=True)
    assert summary.failed == 0


@pytest.mark.parametrize("scenario", ALL)
def test_transfers_within_one_site_work_but_for_averages(tmp_path, scenario):
    consortium = Consortium(tmp_path, [FakeSite("anna", ["eyes", "skin"])])
    consortium.run(plan_of(scenarios=(scenario,)))
    expected = {"one-site at anna"} if scenario == "co_training" else set()
    assert consortium.reasons() == expected
