"""``fedprint space``: suggestions that our own reader accepts, and what a space file says."""

import json
import re
import sys
import tomllib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from factories import make_features, make_space
from small_federation import write_small_federation

from deploy import cli
from deploy.federation_file import FederationConfig, SpaceConfig
from deploy.measured_rankings import EPS, IMAGES, MEASURED
from deploy.space_cli import verdict
from deploy.space_suggestion import GOOD, Plan, expectations, remedies, toml
from federation import distances
from federation.errors import BudgetError, ConfigError
from federation.sketches import CdfSketch


@pytest.fixture
def fedprint(monkeypatch, capsys):
    """Run ``fedprint space`` with arguments; returns exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fedprint", "space", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


def suggested(fedprint, *arguments):
    status, out, err = fedprint("suggest", *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


@pytest.mark.parametrize("measured", MEASURED, ids=lambda m: f"{m.kind} {m.n_bins}")
def test_every_space_that_can_be_suggested_is_accepted_by_the_reader(measured, tmp_path):
    SpaceConfig.model_validate(tomllib.loads(toml(measured))["space"])
    path = write_small_federation(tmp_path)
    text = re.sub(r"(?s)bins = 20.*?\n", toml(measured).split("[space]\n")[1], path.read_text(), count=1)
    text = text.replace('samples = "all"\n', "", text.count('samples = "all"') - 1)
    path.write_text(re.sub(r'distance = "\w+"', f'distance = "{measured.distance}"', text))
    config = FederationConfig.read(path)
    assert (config.space.sketches, config.space.bins) == ((measured.kind,), measured.n_bins)


def test_a_thousand_patients_at_eps_1_rank_well_with_one_threshold(fedprint):
    found = suggested(fedprint, "--images", 1000, "--eps", 1)
    assert (found["sketches"], found["bins"], found["levels"]) == (["cdf"], 2, 1)
    assert (found["binning"], found["clip"], found["distance"]) == ("skewed", 1.1, "cdf-l2")
    assert found["spearman"] > 0.95
    assert found["help"] == []
    assert found["toml"].count("[space]") == 1


def test_too_few_patients_are_told_plainly_and_what_would_help(fedprint):
    status, out, _ = fedprint("suggest", "--images", 50, "--eps", 0.5)
    words = " ".join(out.split())
    assert status == 0
    assert "too small to rank anything" in words
    for way in (
        "a pooled cohort: ",
        "a larger ε",
        "more patients: about",
        "listen mode",
    ):
        assert way in words


def test_images_of_one_patient_count_once(fedprint):
    many = suggested(fedprint, "--images", 4000, "--images-per-patient", 4, "--eps", 1)
    one = suggested(fedprint, "--images", 1000, "--eps", 1)
    assert many == one


def test_people_read_why(fedprint):
    status, out, err = fedprint("suggest", "--images", 400, "--eps", 1, "--sites", 20)
    assert (status, err) == (0, "")
    words = " ".join(out.split())
    assert "20 sites of 400 patients each, ε = 1 at δ = 1e-06" in words
    assert "of the 18 others" in words
    assert 'sketches = ["cdf"]' in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", 100, "--eps", 0), "ε = 0"),
        (("--images", 100, "--eps", -1), "ε = -1"),
        (("--images", 100, "--eps", "nan"), "ε = nan"),
        (("--images", 100, "--eps", 1, "--delta", 0.5), "δ = 0.5 is not below one over 100 patients"),
        (("--images", 3, "--images-per-patient", 4, "--eps", 1), "less than one patient"),
        (("--images", 100, "--eps", 1, "--sites", 2), "fewer than two sources"),
        (("--images", 100, "--eps", 1, "--delta", 0), "δ = 0"),
    ],
)
def test_impossible_plans_are_refused_in_one_sentence(fedprint, arguments, message):
    status, out, err = fedprint("suggest", *arguments)
    assert (status, out) == (1, "")
    assert message in " ".join(err.split())


def spearman(**changes):
    return expectations(Plan(**{"n_images": 300, "eps": 1.0, **changes}))[0].spearman


def test_more_patients_and_a_larger_eps_never_make_the_expectation_worse():
    by_n = [spearman(n_images=n) for n in (1, 10, 50, 100, 200, 300, 700, 1000, 2000, 10**5)]
    by_eps = [spearman(eps=e) for e in (0.01, 0.1, 0.25, 0.5, 1, 2, 4, 8, 50)]
    for values in (by_n, by_eps):
        assert all(a <= b + 0.01 for a, b in pairwise(values))
        assert 0 <= values[0] < 0.1


def test_measured_points_are_given_back():
    for i, n in enumerate(IMAGES):
        for j, eps in enumerate(EPS):
            found = expectations(Plan(n, eps))
            for e in found:
                assert e.spearman == pytest.approx(e.space.spearman[i][j], abs=1e-3)
                assert e.top3 == pytest.approx(e.space.top3[i][j], abs=1e-3)


def test_another_delta_is_compared_by_what_it_spends():
    assert spearman(delta=1e-9) < spearman() < spearman(delta=1e-4)


def test_the_standard_error_is_the_closed_form_of_the_distance():
    first = expectations(Plan(1000, 1.0))[0]
    assert first.relative_error_listening < first.relative_error < 0.3
    assert expectations(Plan(100, 1.0))[0].relative_error > 5 * first.relative_error
    assert expectations(Plan(1000, 1.0))[0].told_apart > 0.6


def test_what_would_help_is_enough():
    plan = Plan(100, 1.0)
    help_ = " ".join(remedies(plan))
    sites, eps = re.search(r"(\d+) sites with", help_), re.search(r"larger ε: ([\d.]+) instead", help_)
    patients = re.search(r"about ([\d,]+) per site", help_)
    assert spearman(n_images=100 * int(sites[1])) >= GOOD
    assert spearman(n_images=100, eps=float(eps[1])) >= GOOD
    assert spearman(n_images=int(patients[1].replace(",", ""))) >= GOOD - 0.02


def test_hopeless_plans_are_not_promised_anything():
    help_ = " ".join(remedies(Plan(1, 0.01)))
    assert "not even 200 such sites" in help_
    assert "larger ε alone would not do" in help_


def test_verdicts_follow_the_expectation():
    assert [verdict(x).split()[0] for x in (0.99, 0.9, 0.7, 0.3)] == ["ranks", "ranks", "tells", "too"]


@pytest.mark.parametrize("measured", MEASURED, ids=lambda m: f"{m.kind} {m.n_bins}")
def test_suggested_distances_know_their_noise(measured):
    distance = distances.get(measured.distance)
    assert distance.needs == measured.kind
    assert distance.noise_model is not None
    assert np.shape(measured.spearman) == np.shape(measured.top3) == (len(IMAGES), len(EPS))


def cdf_space():
    space, reference = make_space(4), make_features(0, 300)
    return replace(space, sketches={"cdf": CdfSketch.parameters(reference, space.edges), "histogram": {}})


def test_a_space_file_shows_its_identity_edges_levels_and_clips(fedprint, tmp_path):
    space, path = cdf_space(), tmp_path / "space.safetensors"
    path.write_bytes(space.to_bytes())
    status, out, err = fedprint("show", path)
    assert (status, err) == (0, "")
    assert space.space_id in out
    assert f"edges      from {space.reference}" in out
    assert f"cdf: 2 levels, clip 1.1, norms {space.sketches['cdf']['clips']}" in out
    assert "sketch     histogram\n" in out
    status, out, _ = fedprint("show", path, "--json")
    assert json.loads(out)["space_id"] == space.space_id


def test_a_file_that_is_no_space_is_one_clear_error(fedprint, tmp_path):
    (tmp_path / "space").write_bytes(b"nothing")
    status, out, err = fedprint("show", tmp_path / "space")
    assert (status, out) == (1, "")
    assert "space" in err
    assert fedprint("show", tmp_path / "nowhere")[0] == 1


def test_plans_are_checked_where_they_are_made():
    with pytest.raises(ConfigError, match="less than one patient"):
        Plan(100, 1.0, images_per_patient=0)
    with pytest.raises(BudgetError):
        Plan(100, float("inf"))
