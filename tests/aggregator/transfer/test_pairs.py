"""Who serves whom, decided before any outcome is seen."""

from itertools import permutations

import pytest
from transfer_runs import Consortium, plan_of
from transfer_sites import FakeSite, hub_of

from aggregator.transfer.offers import Offers
from aggregator.transfer.pairs import choose_pairs, kept_apart
from federation.errors import ConfigError, TransferError
from federation.transfer.messages import Offer

TASKS = [f"site-{i}/t" for i in range(8)]
OFFERS = Offers({f"site-{i}": (Offer("t", measured=True),) for i in range(8)})


def chosen(plan, apart=(), distances=None, offers=OFFERS):
    return choose_pairs(plan, TASKS, offers, apart, distances or {})


def test_all_sources_serve_all_targets_but_themselves():
    assert set(chosen(plan_of())) == set(permutations(TASKS, 2))


def test_tasks_that_share_images_never_serve_each_other():
    apart = (frozenset(TASKS[:3]),)
    assert not [pair for pair in chosen(plan_of(), apart) if set(pair) <= set(TASKS[:3])]


def test_members_of_a_cohort_never_serve_each_other(tmp_path):
    sites = [FakeSite(name, ["scan"]) for name in ("anna", "bern", "cork", "dora")]
    cohort = {"name": "north", "task": "scan", "sites": ("anna", "bern", "cork")}
    hub = hub_of(tmp_path, sites, cohort=(cohort,), shared_images={"g": ("dora/scan", "anna/other")})
    assert set(kept_apart(hub)) == {
        frozenset({"anna/scan", "bern/scan", "cork/scan"}),
        frozenset({"dora/scan", "anna/other"}),
    }


def test_half_of_a_choice_are_the_nearest():
    distances = {pair: abs(TASKS.index(pair[0]) - TASKS.index(pair[1])) for pair in permutations(TASKS, 2)}
    found = chosen(plan_of(sources_per_target=4, targets=(TASKS[0],)), distances=distances)
    assert len(found) == 4
    assert {source for source, _ in found} >= {TASKS[1], TASKS[2]}


def test_a_choice_is_the_same_every_time_and_another_for_other_seeds():
    def sources(**changes):
        return chosen(plan_of(sources_per_target=3, **changes))

    assert sources() == sources()
    assert sources() != sources(seeds=(5,))


def test_a_choice_is_made_among_those_who_take_part():
    some = Offers({"site-1": (Offer("t", measured=True),), "site-2": (Offer("t", measured=True),)})
    found = chosen(plan_of(sources_per_target=2, targets=(TASKS[0],)), offers=some)
    assert [source for source, _ in found] == ["site-1/t", "site-2/t"]


def test_who_was_chosen_stays_chosen_when_sites_join(tmp_path):
    plan = plan_of(sources_per_target=1, seeds=(0,))
    names = ("anna", "bern", "cork")
    consortium = Consortium(tmp_path, [FakeSite(name, ["t"]) for name in names])
    consortium.run(plan)
    before = {each.experiment for each in consortium.findings()}
    grown = Consortium(tmp_path, [FakeSite(name, ["t"]) for name in (*names, "dora")])
    grown.run(plan)
    after = {each.experiment for each in grown.findings()}
    assert before < after
    assert {each.target for each in after - before} == {"dora/t"}


def test_a_chosen_source_that_turns_out_to_share_images_serves_no_more(tmp_path):
    plan = plan_of(sources_per_target=1)
    sites = [FakeSite(name, ["t"]) for name in ("anna", "bern", "cork")]
    Consortium(tmp_path, sites).run(plan)
    told = Consortium(tmp_path, sites, shared_images={"g": ("anna/t", "bern/t", "cork/t")})
    with pytest.raises(TransferError, match="no two of their tasks may serve each other"):
        told.run(plan)
    assert {each.experiment.scenario for each in told.findings()} == set()


def test_tasks_that_share_images_never_train_together(consortium):
    shared = consortium.hub.model_copy(update={"shared_images": {"g": ("anna/eyes", "cork/lung")}})
    consortium.hub = shared
    group = ("anna/eyes", "bern/skin", "cork/lung")
    plan = plan_of(scenarios=("co_training",), co_training={"groups": (group,), "rounds": 3})
    with pytest.raises(ConfigError, match="lets anna/eyes and cork/lung train together, which share images"):
        consortium.run(plan)
    assert consortium.grid.requests == []
