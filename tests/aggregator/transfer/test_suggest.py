"""Which experiments are suggested next, and that following them pays."""

from dataclasses import replace

import numpy as np
import pytest
from studies import SETTING, make_study
from transfer_findings import addresses, failed, finding

from aggregator.study import Outcomes, Setting
from aggregator.transfer.cost import Costs, costs
from aggregator.transfer.suggest import allowed_by, suggest
from aggregator.transfer.suggested import say_suggestion, suggestion_table, suggestions_json
from aggregator.validation.chance import expect_best
from aggregator.validation.metrics import percentiles
from federation.transfer.messages import Offer

A, B, C = addresses(3)


def seen_only(study, seen):
    """The study with the outcomes of some pairs."""
    outcomes = study.outcomes[SETTING]
    values = np.where(seen[None], outcomes.values, np.nan)
    return replace(study, outcomes={SETTING: replace(outcomes, values=values)})


def without_outcomes(study):
    return replace(study, outcomes={})


def pairs_of(found):
    return [(each.source, each.target) for each in found]


def test_without_any_outcome_every_target_gets_a_near_source_first():
    study = without_outcomes(make_study(10))
    found = suggest(study, [SETTING], 10, costs=Costs({}, {}))
    distance = study.distances["cramer"]
    ranks = [
        int((distance[:, study.index[t]] < distance[study.index[s], study.index[t]]).sum())
        for s, t in pairs_of(found)
    ]
    assert len({target for _, target in pairs_of(found)}) >= 7
    assert np.mean(ranks) < 2.0


def test_measured_pairs_and_pairs_that_share_images_are_never_suggested():
    study = make_study(6, groups={"shared": ("t00", "t01")})
    seen = np.zeros((6, 6), bool)
    seen[2:, 0] = True
    found = pairs_of(suggest(seen_only(study, seen), [SETTING], 100))
    assert len(found) == len(set(found)) == 30 - 2 - 4
    assert not {("t00", "t01"), ("t01", "t00")} & set(found)
    assert not [source for source, target in found if target == "t00"]


def test_policies_bar_pairs():
    study = without_outcomes(make_study(5))
    found = pairs_of(suggest(study, [SETTING], 100, allowed=lambda _, source, target: source == "t03"))
    assert {source for source, _ in found} == {"t03"}
    assert len(found) == 4


def test_only_the_wanted_targets_are_helped():
    found = suggest(without_outcomes(make_study(6)), [SETTING], 100, targets=["t02"])
    assert {each.target for each in found} == {"t02"}


def test_a_source_that_is_trained_already_is_preferred_to_an_equal_one():
    study = without_outcomes(make_study(8))
    equal = replace(
        study, distances={"same": np.where(np.eye(8, dtype=bool), np.nan, 1.0)}, facts=study.facts
    )
    timed = Costs({("pretraining", "t05"): 300.0}, {("pretraining", "t00"): 60.0})
    first = suggest(equal, [SETTING], 1, costs=timed, targets=["t00"])[0]
    assert first.source == "t05"
    assert first.seconds == 60.0
    assert "done already" in " ".join(first.reasons)


def test_a_suggestion_for_a_target_does_not_depend_on_how_the_target_fared():
    study = make_study(8)
    seen = np.ones((8, 8), bool)
    seen[4:, 3] = False
    plain = seen_only(study, seen)
    outcomes = plain.outcomes[SETTING]
    values = outcomes.values.copy()
    values[:, :3, 3] = values[:, :3, 3][:, ::-1] - 0.2
    altered = replace(plain, outcomes={SETTING: replace(outcomes, values=values)})
    one, other = (suggest(each, [SETTING], 1, targets=["t03"]) for each in (plain, altered))
    assert pairs_of(one) == pairs_of(other)
    assert one[0].improvement == pytest.approx(other[0].improvement)


@pytest.mark.parametrize("scenario", ["co_training", "combined", "architecture"])
def test_every_scenario_can_be_suggested(scenario):
    found = suggest(without_outcomes(make_study(5)), [Setting(scenario, "ba")], 3)
    assert [each.scenario for each in found] == [scenario] * 3
    assert all(each.improvement > 0 and each.low <= each.gain <= each.high for each in found)


def best_found(study, seen):
    """Percentile of the best source that was tried, mean over targets."""
    performance = study.outcomes[SETTING].performance
    shares = []
    for target in range(len(study.tasks)):
        others = np.flatnonzero(study.allowed[:, target])
        ranks = percentiles(performance[others, target])
        tried = seen[others, target]
        shares.append(ranks[tried].max() if tried.any() else 0.0)
    return float(np.mean(shares))


def test_following_suggestions_finds_better_sources_than_chance_with_half_the_experiments():
    n, rounds = 14, 3
    equal = Costs({("pretraining", f"t{i:02d}"): 0.0 for i in range(n)}, {("pretraining", "t00"): 1.0})
    reached = []
    for seed in range(2):
        study = make_study(n, source_effect=0.7, nearness_effect=0.3, noise=0.5, seed=seed)
        seen = np.zeros((n, n), bool)
        for _ in range(rounds):
            for source, target in pairs_of(suggest(seen_only(study, seen), [SETTING], n, costs=equal)):
                seen[study.index[source], study.index[target]] = True
        assert seen.sum() == rounds * n
        reached.append(best_found(study, seen))
    by_chance = expect_best(np.arange(1, n) / (n - 1), 2 * rounds)
    assert np.mean(reached) > by_chance


def test_costs_are_learned_apart_for_source_and_target():
    done = [
        finding(A, B, 0.8, steps=("train a", "fine b"), seconds=100.0),
        finding(A, C, 0.8, steps=("train a", "fine c"), seconds=120.0),
    ]
    known = costs(done, {"train a": 90.0, "fine b": 10.0, "fine c": 30.0})
    assert known.estimate("pretraining", A, B) == 10.0
    assert known.estimate("pretraining", B, C) == 30.0 + 90.0
    assert known.estimate("pretraining", C, A) == 20.0 + 90.0
    assert known.with_source("pretraining", C).estimate("pretraining", C, A) == 20.0


def test_without_times_per_step_an_experiment_is_split_evenly_and_failures_cost_nothing():
    known = costs([finding(A, B, 0.8, seconds=10.0), failed(B, C, "no-reply")])
    assert known.estimate("pretraining", A, B) == 5.0
    assert not known.is_trained("pretraining", B)


def test_in_co_training_nothing_is_done_once_for_all():
    known = costs([finding(A, B, 0.8, scenario="co_training", steps=("x", "y"), seconds=50.0)])
    assert known.estimate("co_training", A, C) == 50.0
    assert not known.is_trained("co_training", A)


def test_a_combination_may_pass_on_what_its_parts_may():
    offers = {
        "site0": (Offer("t00", measured=True), Offer("t01", measured=True)),
        "site1": (Offer("t03", measured=True, models="private"), Offer("t04", measured=True, models="exact")),
    }
    assert allowed_by(offers, ("architecture", "augmentation"))("combined", A, B)
    assert not allowed_by(offers, ("architecture", "pretraining"))("combined", A, B)
    assert not allowed_by(offers)("co_training", "site1/t04", "site1/t03")


def test_policies_decide_by_scenario_where_weights_go():
    allowed = allowed_by(
        {
            "site0": (
                Offer("t00", measured=True, models="exact", models_to=("site0",)),
                Offer("t01", measured=True),
                Offer("t02"),
            ),
            "site1": (Offer("t03", measured=True, models="private"),),
        }
    )
    other = "site1/t03"
    assert allowed("pretraining", A, B)
    assert not allowed("pretraining", A, other)
    assert allowed("pretraining", other, A)
    assert not allowed("pretraining", B, A)
    assert allowed("architecture", B, A)
    assert not allowed("co_training", other, A)
    assert not allowed("architecture", C, A)
    assert not allowed("architecture", "oslo/x", A)


def test_suggestions_are_told_in_words_rows_and_strict_json():
    (first,) = suggest(without_outcomes(make_study(5)), [SETTING], 1)
    said = say_suggestion(first)
    assert said.startswith(f"{first.source} → {first.target}, pretraining: AUROC ")
    assert "No source" in said or "no source was tried" in said
    assert "per seed" not in said
    table = suggestion_table([first])
    assert table.to_json()[0]["source"] == first.source
    (entry,) = suggestions_json([first])["suggestions"]
    assert entry["seconds"] is None


def test_targets_whose_baseline_is_unknown_are_suggested_all_the_same():
    study = make_study(5)
    outcomes = study.outcomes[SETTING]
    values = outcomes.values.copy()
    values[:, 1:, :] = np.nan
    bare = replace(
        study,
        outcomes={SETTING: Outcomes(outcomes.seeds, values, np.full_like(outcomes.baseline, np.nan))},
    )
    assert len(suggest(bare, [SETTING], 3)) == 3
