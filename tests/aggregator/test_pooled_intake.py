"""Sums over cohorts, and what speaks against one that says more of itself than is true."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from factories import make_identity, make_noisy_space, make_pooled_fingerprint, make_space

from aggregator.intake import admit, admit_reply
from federation.errors import IntakeError
from federation.privacy.accounting import eps_of
from federation.privacy.statement import DISCRETE_GAUSSIAN, DISTRIBUTED_GAUSSIAN
from federation.trust import TrustMode

SPACE = make_noisy_space("histogram", "cdf")
PLAIN = make_space(8)


@pytest.fixture
def hub(tmp_path):
    return make_identity("chests", tmp_path)


@pytest.fixture
def noisy(hub):
    return make_pooled_fingerprint(hub, "lungs", SPACE)


@pytest.fixture
def exact(hub):
    return make_pooled_fingerprint(hub, "lungs", PLAIN, rho=None)


def admitted(hub, fingerprint, space=SPACE):
    encoded = fingerprint.signed_by(hub).to_bytes()
    return admit(encoded, "chests", "lungs", hub.public_key, space)


def refused(hub, fingerprint, match, space=SPACE):
    with pytest.raises(IntakeError, match=match):
        admitted(hub, fingerprint, space)


def stating(fingerprint, **changes):
    return replace(fingerprint, privacy=replace(fingerprint.privacy, **changes))


def with_noise(fingerprint, noise):
    """The same numbers, said to carry other noise, in sketches and statement alike."""
    sketches = {
        kind: replace(sketch, noise={name: noise[f"{kind}.{name}"] for name in sketch.noise})
        for kind, sketch in fingerprint.sketches.items()
    }
    return stating(replace(fingerprint, sketches=sketches), noise=noise)


@pytest.mark.parametrize(
    "kinds", [("histogram",), ("cdf",), ("histogram", "cdf"), ("mean-embedding", "moments")]
)
@pytest.mark.parametrize(("k", "weight"), [(1, 1), (4, 12)])
@pytest.mark.parametrize(("sites", "honest"), [(3, 3), (10, 4)])
def test_an_opened_sum_with_noise_is_admitted(hub, kinds, k, weight, sites, honest):
    space = make_noisy_space(*kinds)
    sent = make_pooled_fingerprint(hub, "lungs", space, images_per_patient=k, sites=sites, honest=honest)
    stated = admitted(hub, sent, space).privacy
    assert (stated.weight, stated.sites, stated.honest) == (weight, sites, honest)
    assert (stated.mode, stated.ledger_seq) == (TrustMode.POOLED, None)


def test_an_exact_sum_is_admitted(hub, exact):
    found = admitted(hub, exact, PLAIN)
    assert (found.privacy.sites, found.histogram.n, found.card.n_images) == (5, 300, 300)


def test_a_sum_of_two_is_refused(hub, exact, noisy):
    refused(hub, stating(exact, sites=2), "it is the sum of 2 sites, expected at least 3", PLAIN)
    halves = {name: 2 * (variance // 5) for name, variance in noisy.privacy.noise.items()}
    refused(hub, stating(with_noise(noisy, halves), sites=2, honest=2), "it is the sum of 2 sites")


def test_more_honest_sites_than_there_are_is_refused(hub, noisy):
    refused(hub, stating(noisy, honest=6), "sum of 5 sites, 6 of them honest")


def test_counting_the_noise_of_more_sites_than_the_cost_was_made_for_lowers_no_claim(hub, noisy):
    stated = noisy.privacy
    assert admitted(hub, stating(noisy, honest=4)).privacy.rho == stated.rho  # dearer than it need be
    refused(hub, stating(noisy, honest=2), "protects patients less than it says")


def test_a_smaller_rho_than_the_shares_support_is_refused(hub, noisy):
    rho = Fraction(noisy.privacy.rho) - Fraction(1, 2**60)
    lying = stating(noisy, rho=str(rho), eps=eps_of(rho, 1e-6))
    refused(hub, lying, "it protects patients less than it says")


def test_all_noise_counted_as_honest_in_the_cost_is_refused(hub, noisy):
    rho = Fraction(noisy.privacy.rho) * Fraction(3, 5)
    refused(hub, stating(noisy, rho=str(rho), eps=eps_of(rho, 1e-6)), "protects patients less than it says")


def test_an_eps_that_does_not_follow_from_rho_is_refused(hub, noisy):
    refused(hub, stating(noisy, eps=noisy.privacy.eps / 2), "but its ρ gives")


def test_noise_that_is_no_sum_of_equal_shares_is_refused(hub, noisy):
    one_more = {name: variance + 1 for name, variance in noisy.privacy.noise.items()}
    refused(hub, with_noise(noisy, one_more), "expected 5 equal shares of at least 16")
    little = dict.fromkeys(noisy.privacy.noise, 5 * 15)
    refused(hub, with_noise(noisy, little), "expected 5 equal shares of at least 16")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unit", ""),
        ("neighbours", "replace one"),
        ("delta", 0.01),
        ("delta", 0.0),
        ("images_per_patient", 0),
        ("weight", 2),
        ("cohorts", 0),
        ("cohorts", 2),
        ("edges", " "),
    ],
)
def test_an_incomplete_or_impossible_statement_is_refused(hub, noisy, field, value):
    refused(hub, stating(noisy, **{field: value}), f"says {field} = .*impossible")


def test_noise_must_be_stated_for_every_array(hub, noisy):
    some = {name: variance for name, variance in noisy.privacy.noise.items() if name != "cdf.n_images"}
    refused(hub, stating(noisy, noise=some), "names noise in .*its arrays are .*cdf.n_images")


def test_the_mechanism_of_a_single_site_is_none_of_a_sum(hub, noisy):
    refused(hub, stating(noisy, mechanism=DISCRETE_GAUSSIAN), "relies on 3 honest sites")
    refused(hub, stating(noisy, mechanism=DISCRETE_GAUSSIAN, honest=0), "says mechanism = ")
    refused(hub, stating(noisy, mode=TrustMode.PRIVATE, sites=0, honest=0), "relies on 0 honest sites")


def test_a_site_cannot_pass_its_own_sketches_off_as_a_sum(hub, exact, noisy):
    for sent, space in ((exact, PLAIN), (noisy, SPACE)):
        with pytest.raises(IntakeError, match="lungs refused: it says that it is a sum of several sites"):
            admit_reply(sent.to_bytes(), "chests", "lungs", hub.public_key, space)


def test_a_sum_says_of_sites_and_noise_what_can_be(hub, exact):
    refused(hub, stating(exact, sites=0), "sum of 0 sites", PLAIN)
    refused(hub, stating(exact, mechanism=DISTRIBUTED_GAUSSIAN, honest=3), "names ρ = 0", PLAIN)


def test_an_exact_sum_whose_rows_count_differently_is_refused(hub, exact):
    counts = exact.histogram.counts.copy()
    counts[2, 1] += 1
    forged = replace(exact, sketches={"histogram": replace(exact.histogram, counts=counts)})
    refused(hub, forged, "rows do not all sum to the same number", PLAIN)


def test_an_exact_sum_that_counts_other_images_than_its_card_is_refused(hub, exact):
    refused(hub, replace(exact, card=replace(exact.card, n_images=299)), "counts 300 images", PLAIN)


def test_a_sum_with_noise_whose_rows_differ_by_more_is_refused(hub, noisy):
    counts = noisy.sketches["histogram"].counts.copy()
    counts[0, 0] += 90
    counts[1, 0] -= 90
    histogram = replace(noisy.sketches["histogram"], counts=counts)
    refused(hub, replace(noisy, sketches={**noisy.sketches, "histogram": histogram}), "rows of its histogram")


def test_a_sum_without_the_noise_that_it_states_is_refused(hub):
    space = make_noisy_space("mean-embedding")
    sent = make_pooled_fingerprint(hub, "lungs", space)
    much = {name: 10**6 * variance for name, variance in sent.privacy.noise.items()}
    refused(hub, with_noise(sent, much), "less noise in it than it says", space)


def test_an_empty_sum_is_refused(hub, noisy):
    histogram = noisy.sketches["histogram"]
    empty = replace(histogram, counts=np.zeros_like(histogram.counts))
    refused(hub, replace(noisy, sketches={**noisy.sketches, "histogram": empty}), "from no image")
