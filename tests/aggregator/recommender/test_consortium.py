"""A catalogue with imported outcomes, recommended from the command line."""

import csv
import json

import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space
from typer.testing import CliRunner

from aggregator import matrix
from aggregator.cli import app
from aggregator.outcomes import Outcome
from aggregator.recommend import choose_settings, involved
from aggregator.recommender import NO_TRANSFER
from aggregator.recommender.consortium import consortium_study
from aggregator.report.catalogue import write_catalogue_report
from aggregator.store import Catalogue
from aggregator.study import Setting
from federation.errors import UnknownNameError
from federation.ranking import Candidates, rank_sources

N_TASKS = 8
GAIN = [0.04, 0.03, 0.02, 0.01, 0.0, -0.01, -0.02, -0.03]


def key(i):
    return f"site-{i}/task"


def outcomes(*, target_sees=lambda t: True):
    return [
        Outcome("pretraining", "auroc", seed, key(s), key(t), 0.8 + GAIN[s] + 0.002 * seed, 0.8)
        for seed in (0, 1)
        for s in range(N_TASKS)
        for t in range(N_TASKS)
        if s != t and target_sees(t)
    ]


@pytest.fixture
def catalogue(tmp_path):
    store, space = Catalogue(tmp_path / "catalogue.sqlite", create=True), make_space()
    with store.writing() as writer:
        writer.add_space(space)
        for i in range(N_TASKS):
            identity = make_identity(f"site-{i}", tmp_path)
            writer.add_fingerprint(make_fingerprint(identity, "task", space, seed=i, shift=i / 4))
        summary = {
            "distance": "cramer", "consortium": "c", "accepted": [], "listening": [], "missing": [],
            "shared_images": {"twins": [key(0), key(1), "gone/task"]},
        }  # fmt: skip
        writer.finish_run("job", space, summary)
        writer.add_outcomes(outcomes(target_sees=lambda t: t != 7))
    matrix.grow(store, space)
    yield store
    store.close()


def recommend(catalogue, *arguments):
    command = ["recommend", *arguments, "--catalogue", str(catalogue.place)]
    return CliRunner().invoke(app, command, catch_exceptions=False, env={"COLUMNS": "200"})


def forecasts(catalogue, *arguments):
    [found] = json.loads(recommend(catalogue, *arguments, "--json").stdout)["forecasts"]
    return found


def test_the_study_holds_distances_facts_groups_and_outcomes(catalogue):
    matrices = matrix.read_all(catalogue, catalogue.latest_space())
    study = consortium_study(matrices, catalogue.outcomes(), catalogue.shared_images())
    assert study.groups == {"twins": (key(0), key(1))}
    assert not study.allowed[0, 1]
    setting = Setting("pretraining", "auroc")
    assert study.outcomes[setting].values.shape == (2, N_TASKS, N_TASKS)
    assert study.outcomes[setting].performance[2, 3] == pytest.approx(0.821, abs=1e-6)
    assert study.outcomes[setting].mean_baseline[:7] == pytest.approx(0.8, abs=1e-6)
    np.testing.assert_array_equal(np.isnan(study.distances["cramer"]), np.eye(N_TASKS, dtype=bool))
    assert study.facts[key(3)].num_samples == 200


def test_outcomes_of_tasks_that_left_the_catalogue_are_left_out(catalogue):
    matrices = matrix.read_all(catalogue, catalogue.latest_space())
    gone = Outcome("augmentation", "ba", 0, "gone/task", key(0), 0.5)
    study = consortium_study(matrices, [*catalogue.outcomes(), gone], {})
    assert list(study.outcomes) == [Setting("pretraining", "auroc")]


def test_a_target_without_outcomes_gets_the_sources_that_helped_others(catalogue):
    found = forecasts(catalogue, key(7))
    assert (found["scenario"], found["n_targets"]) == ("pretraining", 7)
    assert [each["source"] for each in found["sources"][:3]] == [key(0), key(1), key(2)]
    best = found["sources"][0]
    assert 0.01 < best["gain"] < 0.05  # measured: 0.041 at every target, shrunk towards the prior
    assert best["interval"][0] < best["gain"] < best["interval"][1]
    assert best["chance_of_harm"] < 0.2
    assert "helped 5 of 5 similar targets" in best["reasons"]
    [nothing] = [each for each in found["sources"] if each["source"] == NO_TRANSFER]
    assert (nothing["gain"], nothing["rank"] > 3) == (0.0, True)


def test_tasks_that_share_images_never_serve_each_other(catalogue):
    found = forecasts(catalogue, key(0), "--top", "20")
    assert key(1) not in {each["source"] for each in found["sources"]}
    assert found["n_targets"] == 5


def test_the_text_says_gain_interval_harm_and_reasons(catalogue):
    text = recommend(catalogue, key(7)).stdout
    assert "pretraining, gain in AUROC (learned from 47 outcomes at 7 other targets)" in text
    assert "semantic" not in text  # all cards name the same keywords: nobody is nearest by them
    assert "80% within" in text
    assert "chance of harm" in text
    assert f"{NO_TRANSFER}  0 by definition" in text


def test_a_scenario_without_outcomes_is_forecast_from_the_configured_distance(catalogue):
    found = forecasts(catalogue, key(7), "--scenario", "augmentation", "--top", "7")
    assert found["n_outcomes"] == 0
    sources = [each["source"] for each in found["sources"] if each["source"] != NO_TRANSFER]
    nearest = matrix.read(catalogue, catalogue.latest_space(), "cramer").values[:7, 7]
    assert sources == [key(i) for i in np.argsort(nearest)]
    assert found["sources"][0]["reasons"][0] == "nearest of 7 by cramer"
    text = recommend(catalogue, key(7), "--scenario", "augmentation").stdout
    assert "nothing was measured at other targets" in text


def test_without_any_outcome_the_distance_ranks(catalogue, tmp_path):
    empty = Catalogue(tmp_path / "empty.sqlite", create=True)
    space = catalogue.latest_space()
    with empty.writing() as writer:
        writer.add_space(space)
        for entry in catalogue.entries(space):
            writer.add_fingerprint(entry.fingerprint)
        writer.finish_run("job", space, catalogue.run_summary())
    text = recommend(empty, key(7)).stdout
    assert "nearest of 7 by cramer" in text
    assert "nothing was measured yet" in text


def test_a_metric_nobody_measured_is_refused_with_those_that_were(catalogue):
    matrices = matrix.read_all(catalogue, catalogue.latest_space())
    study = consortium_study(matrices, catalogue.outcomes(), {})
    with pytest.raises(UnknownNameError, match="no outcome was measured by 'f1' → choose one of: auroc"):
        choose_settings(study, None, "f1")


def test_imported_outcomes_reach_the_recommendation(catalogue, tmp_path):
    path = tmp_path / "more.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["scenario", "metric", "seed", "source", "target", "value", "baseline"])
        for s in range(N_TASKS):
            writer.writerows(
                ["augmentation", "ba", 0, key(s), key(t), 0.7 - GAIN[s], 0.7] for t in range(5) if s != t
            )
    CliRunner().invoke(
        app, ["outcomes", "import", str(path), "--catalogue", str(catalogue.place)], catch_exceptions=False
    )
    found = forecasts(catalogue, key(7), "--scenario", "augmentation", "--metric", "ba")
    assert found["sources"][0]["source"] == key(6)


def test_the_report_shows_expected_gains_on_every_card(catalogue, tmp_path):
    write_catalogue_report(catalogue, tmp_path / "report.html", "cramer")
    page = (tmp_path / "report.html").read_text()
    assert page.count("Expected gain: Pretraining, AUROC") == N_TASKS
    assert page.count(">ImageNet (no site)<") == N_TASKS
    assert "helped 5 of 5 similar targets" in page


def test_in_a_large_catalogue_only_near_and_measured_tasks_take_part(monkeypatch):
    monkeypatch.setattr("aggregator.recommend._MOST_SOURCES", 2)
    distances = {"cramer": np.array([0.3, 0.1, 0.2, 0.4])}
    possible = Candidates("s/target", ["s/a", "s/b", "s/c", "s/d"], distances, {})
    measured = [Outcome("pretraining", "auroc", 0, "s/d", "s/e", 0.8)]
    assert involved(rank_sources(possible, "cramer"), measured) == {"s/target", "s/b", "s/c", "s/d", "s/e"}


def test_matrices_among_some_tasks_are_those_parts_of_the_whole(catalogue):
    space = catalogue.latest_space()
    among = matrix.read_all(catalogue, space, "cramer", {key(2), key(5)})
    whole = matrix.read_all(catalogue, space, "cramer")
    for name, found in among.items():
        assert found.keys == (key(2), key(5))
        np.testing.assert_array_equal(found.values, whole[name].values[np.ix_([2, 5], [2, 5])])
