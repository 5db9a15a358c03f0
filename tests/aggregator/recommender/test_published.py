"""The recommender on the published development tables, and through ``fedprint validate --recommender``."""

import json
from dataclasses import replace

import numpy as np
import pytest
from studies import SETTING, make_study
from typer.testing import CliRunner

from aggregator.recommender import LearnedRecommender
from aggregator.recommender.calibration import calibrate
from deploy.cli import app


@pytest.fixture(scope="module")
def results(shared):
    directory = str(shared / "reference" / "knowledge_silos")
    command = ["validate", directory, "--recommender", "--json"]
    found = json.loads(CliRunner().invoke(app, command, catch_exceptions=False).stdout)["results"]
    return {(each["selector"], each["scenario"], each["metric"]): each for each in found}


def taus(results, selector):
    return {key[1:]: each["weighted_tau"] for key, each in results.items() if key[0] == selector}


@pytest.mark.reference
def test_the_recommender_ranks_better_than_every_distance_and_size_rule(results):
    learned = taus(results, "recommender")
    assert len(learned) == 8
    known_loss = ("largest_source", ("co_training", "auroc"))
    for selector in {key[0] for key in results} - {"recommender", "random", "no_transfer"}:
        for setting, tau in taus(results, selector).items():
            assert (learned[setting] > tau) != ((selector, setting) == known_loss), (selector, setting)
    assert np.mean(list(learned.values())) > 0.25


@pytest.mark.reference
def test_the_interval_of_its_weighted_tau_excludes_chance_but_for_co_training(results):
    for (selector, scenario, _), each in results.items():
        if selector == "recommender" and scenario != "co_training":
            assert each["weighted_tau_ci"][0] > 0.1


@pytest.mark.reference
def test_its_first_three_choices_gain_more_than_random_ones_everywhere(results):
    for (selector, *setting), each in results.items():
        if selector == "recommender":
            assert each["delta_at_3"] > results["random", *setting]["delta_at_3"]
            assert each["regret_at_3"] < results["random", *setting]["regret_at_3"]


@pytest.mark.reference
def test_it_advises_against_pretraining_where_that_usually_harms(results):
    for metric in ("auroc", "ba"):
        row = results["recommender", "pretraining", metric]
        assert results["random", "pretraining", metric]["negative_transfer_rate"] > 0.7
        assert row["abstention_rate"] > 0.9
        assert row["advice_harm_rate"] < 0.1


@pytest.mark.reference
def test_intervals_hold_on_published_targets_that_were_never_seen(results):
    """Coverage is a mean over 23 to 28 targets of which most lie inside or outside as a whole: ± .08."""
    rows = [each for key, each in results.items() if key[0] == "recommender"]
    for level in ("0.5", "0.8", "0.9"):
        coverage = [row["interval_coverage"][level] for row in rows]
        assert np.mean(coverage) == pytest.approx(float(level), abs=0.06)
        assert min(coverage) > float(level) - 0.16
    assert np.mean([r["harm_brier"] for r in rows]) < np.mean([r["harm_brier_base_rate"] for r in rows])


@pytest.mark.reference
def test_only_the_recommender_carries_calibration(results):
    for (selector, *_), each in results.items():
        assert ("interval_coverage" in each) == (selector == "recommender")


def test_calibration_counts_harm_of_the_advice():
    good = calibrate(LearnedRecommender.fit(make_study(16, source_effect=1.0, noise=0.05), SETTING))
    assert good.n_targets == 16
    assert good.advice_harm_rate == 0.0
    assert good.abstention_rate == 0.0
    assert good.brier < 0.05 < good.brier_base_rate
    assert good.gain_error < 0.006


def test_only_judged_targets_count_while_others_are_history():
    study = make_study(16, source_effect=1.0, noise=0.3)
    some = replace(study, targets=study.tasks[:5])
    assert calibrate(LearnedRecommender.fit(some, SETTING)).n_targets == 5
    whole = LearnedRecommender.fit(study, SETTING).standings
    np.testing.assert_array_equal(LearnedRecommender.fit(some, SETTING).standings, whole)


def test_a_setting_without_outcomes_cannot_be_calibrated():
    found = calibrate(LearnedRecommender.fit(replace(make_study(6), outcomes={}), SETTING))
    assert found.n_targets == 0
    assert found.to_json()["harm_brier"] is None
