"""What the report says about noise."""

from dataclasses import replace

import pytest

from aggregator.report.space import say_sketches, say_space
from aggregator.report.words import (
    say_noise,
    say_privacy,
    say_rounded_up,
    say_size,
    say_statement,
    say_uncertain,
)
from federation.privacy.statement import DISCRETE_GAUSSIAN, DISTRIBUTED_GAUSSIAN, NEIGHBOURS, PrivacyStatement
from federation.trust import TrustMode

EXACT = PrivacyStatement(TrustMode.OPEN)
PRIVATE = PrivacyStatement(
    mode=TrustMode.PRIVATE,
    mechanism=DISCRETE_GAUSSIAN,
    unit="patient",
    neighbours=NEIGHBOURS,
    rho="3/125",
    eps=0.99123,
    delta=1e-6,
    images_per_patient=4,
    weight=12,
    cohorts=2,
    edges="procedural-v1",
    noise={"cdf.curve": 90_000, "cdf.n_images": 400},
    ledger_seq=17,
    ledger_hash="ab" * 32,
)


POOLED = replace(
    PRIVATE,
    mode=TrustMode.POOLED,
    mechanism=DISTRIBUTED_GAUSSIAN,
    cohorts=1,
    ledger_seq=None,
    ledger_hash="",
    sites=5,
    honest=3,
)


def test_the_whole_statement_is_said_in_words():
    assert say_statement(PRIVATE) == (
        ("Mechanism", "discrete Gaussian"),
        ("Protects", "one patient"),
        ("Neighbours", "add or remove one patient"),
        ("Cost", "ε = 0.992 at δ = 1e-06 per patient; ρ = 3/125 (zCDP)"),
        ("Noise", "like 4.6 patients more or less"),
        ("σ of the noise", "cdf.curve 300, cdf.n_images 20.0"),
        ("Used per patient", "at most 4 images, each once"),
        ("Weight of a patient", "12"),
        ("Cohorts", "sum of 2 releases about disjoint groups of patients"),
        ("Bins and norms from", "procedural-v1"),
        ("Ledger", "entry 17, " + "ab" * 32),
    )
    assert say_statement(EXACT) == ()


def test_a_sum_says_of_how_many_sites_it_is_and_whose_noise_counts():
    assert dict(say_statement(POOLED))["Sites"] == "sum of 5 sites, the noise of 3 of which is counted on"
    short, full = say_privacy(POOLED)
    assert short == "Released as a sum of 5 sites, with noise: ε = 0.992 at δ = 1e-06 per patient"
    assert full.startswith("Only the sum of 5 sites could be opened; no one saw the sketch of any of them. ")
    assert "hides whether any one patient took part" in full


def test_an_exact_sum_says_what_it_reveals():
    exact = PrivacyStatement(TrustMode.POOLED, sites=1234)
    assert say_statement(exact) == (("Sites", "sum of 1,234 sites"),)
    short, full = say_privacy(exact)
    assert short == "Released as a sum of 1,234 sites"
    assert "whether that patient is in one of the datasets, though not in which" in full


def test_images_that_are_their_own_patients_are_called_so():
    by_image = PrivacyStatement(**{**PRIVATE.__dict__, "unit": "image"})
    assert "does not know which images are of one patient" in say_privacy(by_image)[1]
    assert "does not know" not in say_privacy(PRIVATE)[1]


def test_a_noisy_number_of_patients_is_approximate():
    assert say_size(1312, PRIVATE) == "≈ 1,312 patients"
    assert (say_size(1312, EXACT), say_size(1, EXACT)) == ("1,312 images", "1 image")


def test_noise_is_said_in_what_it_hides():
    by_image = PrivacyStatement(**{**PRIVATE.__dict__, "unit": "image", "rho": "1/2"})
    assert say_noise(by_image) == "like 1 image more or less"
    assert say_noise(PRIVATE) == "like 4.6 patients more or less"
    assert say_noise(EXACT) == ""


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (("histogram",), "histograms over bins that all sites share"),
        (("cdf",), "the shares of images at or below thresholds that all sites share"),
        (
            ("cdf", "moments"),
            "the shares of images at or below thresholds that all sites share and means and covariances",
        ),
        (("a-plugin",), "a-plugin sketches"),
        ((), "sketches"),
    ],
)
def test_the_page_names_the_sketches_of_its_space(kinds, said):
    assert say_sketches({"sketches": {kind: {} for kind in kinds}}) == said


def test_a_space_of_cumulative_frequencies_has_thresholds_and_no_bins():
    header = {"n_bins": 4, "binning": "skewed", "sketches": {"cdf": {}}}
    assert dict(say_space(header))["Thresholds"] == "3 between 4 skewed bins, per feature"
    assert dict(say_space(header | {"sketches": {"histogram": {}}}))["Bins"] == "4 skewed per feature"


@pytest.mark.parametrize(
    ("eps", "said"), [(0.0, "0"), (1.0, "1"), (0.99123, "0.992"), (2.0001, "2.01"), (12.34, "12.4")]
)
def test_eps_is_rounded_against_the_releaser(eps, said):
    assert say_rounded_up(eps) == said


def test_a_value_comes_with_its_standard_error_where_there_is_one():
    assert say_uncertain(0.0123, 0.0042) == "0.0123 ± 0.004"
    assert say_uncertain(0.0123, 0.0) == say_uncertain(0.0123, None) == "0.0123"
