"""Edges that follow a cohort, all the way: sites, secure aggregation, ledgers, space, next simulation."""

import json
import shutil
import sys
from fractions import Fraction

import numpy as np
import pytest
from rich.console import Console
from small_federation import SITES, write_small_federation

from aggregator.store import Catalogue
from deploy import cli
from deploy.calibration_text import calibration_lines
from deploy.federation_file import FederationConfig
from deploy.progress_display import ProgressDisplay
from deploy.simulation import simulate
from deploy.space_calibration import Plan, calibrate_space
from federation.errors import RoundError
from federation.identity import Identity
from federation.privacy.accounting import rho_for
from federation.space import Space
from site_agent.ledger.chain import read_chain
from site_agent.ledger.storage import LedgerFiles

COHORT = """
[[cohort]]
name = "ward"
task = "digits"
sites = ["anna", "bern", "cork"]
"""
NOISY = COHORT + 'eps = 1.0\nimages_per_patient = 1\nunit = "image"\ndelta = 1e-6\n'
EXACT = COHORT + 'exact_because = "these are public digits"\n'
QUIET = ProgressDisplay(Console(quiet=True))


def federation(folder, extra):
    return write_small_federation(folder, extra=extra, trusts=("pooled",) * 3)


def charges(folder):
    """Site → what its ledger was charged, one ρ per release."""
    found = {}
    for site in SITES:
        state = folder / "run" / "sites" / site
        key = Identity.load_or_create(site, state / "identity.key").public_key
        found[site] = [e.charge.rho for e in read_chain(LedgerFiles(state), key).entries if e.charge]
    return found


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A federation, and the space whose edges follow its cohort exactly."""
    folder = tmp_path_factory.mktemp("exact")
    path = federation(folder, EXACT)
    plan = Plan(folder / "ward.safetensors", 4, "equal-mass", "ward")
    return path, calibrate_space(FederationConfig.read(path), plan, QUIET)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    path = federation(folder, NOISY)
    plan = Plan(folder / "ward.safetensors", 4, "equal-mass", "ward")
    return path, calibrate_space(FederationConfig.read(path), plan, QUIET)


def test_exact_edges_are_quantiles_of_all_images_of_the_cohort(exact):
    path, done = exact
    catalogue = Catalogue(*path.parent.glob("run/calibration/*/catalogue.sqlite"))
    (entry,) = catalogue.entries(done.pooled.coarse)
    assert (entry.fingerprint.key, entry.fingerprint.histogram.n) == ("ward/digits", 180)
    below = np.pad(entry.fingerprint.histogram.frequencies().cumsum(axis=1), ((0, 0), (1, 0)))
    for edges, coarse, curve in zip(done.space.edges, done.pooled.coarse.edges, below, strict=True):
        np.testing.assert_allclose(np.interp(edges[1:-1], coarse, curve), [0.25, 0.5, 0.75])
    assert done.pooled.calibration.n_public == 0
    assert done.pooled.coarse.n_bins == 64
    catalogue.close()


def test_the_space_says_whose_histogram_it_follows(exact):
    _, done = exact
    told, asked = "pooled histogram of cohort ward, 3 sites, exact", done.pooled.coarse.space_id
    assert done.space.reference.startswith(f"{told}, 64 coarse bins of space {asked}; ")
    assert Space.from_bytes(done.path.read_bytes()) == done.space
    assert (done.space.n_bins, done.space.binning) == (4, "equal-mass")


def test_a_simulation_in_the_calibrated_space_pools_the_same_cohort(exact, tmp_path):
    shutil.copytree(exact[0].parent, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "federation.toml"
    text = path.read_text()
    for key in ('extractor = "lcnet_050"\n', "image_size = 32\n", "reference_images = 100\n", "bins = 20\n"):
        text = text.replace(key, "")
    path.write_text(text.replace("[space]\n", '[space]\nfile = "ward.safetensors"\n'))
    done = simulate(FederationConfig.read(path), QUIET)
    catalogue = Catalogue(done.catalogue)
    space = catalogue.latest_space()
    assert space == exact[1].space
    (entry,) = catalogue.entries(space)
    assert entry.fingerprint.key == "ward/digits"
    balance = entry.fingerprint.histogram.frequencies()
    assert np.median(np.abs(balance - 1 / 4)) < 0.2
    catalogue.close()


def test_every_site_pays_for_a_noisy_histogram_once(noisy):
    path, done = noisy
    limit = rho_for(1.0, 1e-6)
    paid = charges(path.parent)
    for rhos in paid.values():
        assert len(rhos) == 1
        assert 0 < rhos[0] <= limit
    assert done.pooled.asked
    assert Fraction(done.pooled.privacy.rho) <= limit
    assert done.pooled.coarse.n_bins == 16
    assert "ε = 1 at δ = 1e-06, 16 coarse bins" in done.space.reference


def test_what_noise_cost_and_covered_is_said(noisy):
    words = " ".join(" ".join(calibration_lines(noisy[1])).split())
    assert "ε = 1 at δ = 1e-06, charged to every site's ledger" in words
    n_features, n_public = noisy[1].space.n_features, noisy[1].pooled.calibration.n_public
    assert f"{n_public} of {n_features} features keep their public edges" in words


def test_other_bins_of_the_same_histogram_cost_nothing(noisy, tmp_path):
    shutil.copytree(noisy[0].parent, tmp_path, dirs_exist_ok=True)
    config = FederationConfig.read(tmp_path / "federation.toml")
    before = charges(tmp_path)
    done = calibrate_space(config, Plan(tmp_path / "two", 2, "skewed", "ward"), QUIET)
    assert not done.pooled.asked
    assert done.pooled.privacy == noisy[1].pooled.privacy
    assert charges(tmp_path) == before


def test_asking_again_is_paid_again(noisy, tmp_path):
    shutil.copytree(noisy[0].parent, tmp_path, dirs_exist_ok=True)
    config = FederationConfig.read(tmp_path / "federation.toml")
    done = calibrate_space(config, Plan(tmp_path / "two", 4, None, "ward", again=True), QUIET)
    assert done.pooled.asked
    assert [len(rhos) for rhos in charges(tmp_path).values()] == [2, 2, 2]


def test_a_cohort_that_is_too_small_for_its_policies_writes_no_space_and_says_why(tmp_path):
    path = federation(tmp_path, NOISY + "[privacy]\nminimum_patients = 100\n")
    plan = Plan(tmp_path / "space", cohort="ward")
    with pytest.raises(RoundError, match="has 60 patients, the policy asks for 100"):
        calibrate_space(FederationConfig.read(path), plan, QUIET)
    assert not plan.out.exists()
    assert charges(tmp_path) == {site: [] for site in SITES}


def test_the_command_prints_what_it_cost_and_what_is_next(exact, tmp_path, monkeypatch, capsys):
    shutil.copytree(exact[0].parent, tmp_path, dirs_exist_ok=True)

    def run(*arguments):
        command = ["fedprint", "space", "calibrate", str(tmp_path / "federation.toml"), *arguments]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    words = run("--federated", "ward", "--out", str(tmp_path / "a"))
    for expected in (
        "cohort ward: a sum of 3 sites, without noise",
        "coarse bins from the public ones",
        Space.from_bytes((tmp_path / "a").read_bytes()).space_id,
        "next: name it as file",
    ):
        assert expected in words
    found = json.loads(run("--federated", "ward", "--out", str(tmp_path / "b"), "--json"))
    assert found["pooled"]["sites"] == 3
    assert found["pooled"]["exact"]
    assert found["pooled"]["features_with_public_edges"] == 0
