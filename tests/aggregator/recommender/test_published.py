"""The recommender on the published development tables, and through ``fedprint validate --recommender``."""

import json

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
def test_the_recommender_beats_every_distance_in_every_setting_of_the_published_tables(results):
    learned = taus(results, "recommender")
    assert len(learned) == 8
    references = {"recommender", "random", "no_transfer"}
    for selector in {key[0] for key in results} - references - {"largest_source"}:
        for setting, tau in taus(results, selector).items():
            assert learned[setting] > tau, (selector, setting)
    assert np.mean(list(learned.values())) > 0.25


@pytest.mark.reference
def test_the_interval_of_its_weighted_tau_excludes_chance_but_for_co_training(results):
    for (selector, scenario, _), each in results.items():
        if selector == "recommender" and scenario != "co_training":
            assert each["weighted_tau_ci"][0] > 0.1


@pytest.mark.reference
def test_intervals_hold_on_published_targets_that_were_never_seen(results):
    rows = [each for key, each in results.items() if key[0] == "recommender"]
    for level in ("0.5", "0.8", "0.9"):
        coverage = [row["interval_coverage"][level] for row in rows]
        assert np.mean(coverage) == pytest.approx(float(level), abs=0.07)
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
