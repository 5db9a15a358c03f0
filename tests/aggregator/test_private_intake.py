"""Fingerprints with real noise, and what speaks against one that does not say the truth about it."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_noisy_space, make_private_fingerprint, make_space

from aggregator.intake import admit
from aggregator.private_intake import _check_rows
from federation.errors import IntakeError
from federation.privacy.accounting import eps_of
from federation.privacy.statement import PrivacyStatement
from federation.sketches import HistogramSketch
from federation.trust import TrustMode

SPACE = make_noisy_space("histogram", "cdf")


@pytest.fixture
def identity(tmp_path):
    return make_identity("st-anna", tmp_path)


@pytest.fixture
def sent(identity):
    return make_private_fingerprint(identity, "t", SPACE)


def admitted(identity, fingerprint, space=SPACE):
    signed = fingerprint.signed_by(identity)
    return admit(signed.to_bytes(), "st-anna", "t", identity.public_key, space)


def refused(identity, fingerprint, match, space=SPACE):
    with pytest.raises(IntakeError, match=match):
        admitted(identity, fingerprint, space)


def stating(fingerprint, **changes):
    return replace(fingerprint, privacy=replace(fingerprint.privacy, **changes))


@pytest.mark.parametrize(
    "kinds", [("histogram",), ("cdf",), ("histogram", "cdf"), ("mean-embedding", "moments")]
)
@pytest.mark.parametrize(("k", "weight"), [(1, 1), (4, 12)])
@pytest.mark.parametrize("rho", [Fraction(1, 50), Fraction(3)])
def test_what_the_mechanism_made_is_admitted(identity, kinds, k, weight, rho):
    space = make_noisy_space(*kinds)
    fingerprint = make_private_fingerprint(identity, "t", space, images_per_patient=k, rho=rho, n=500)
    assert admitted(identity, fingerprint, space).privacy.weight == weight


def test_a_sum_of_cohorts_costs_what_one_of_them_cost(identity):
    first, second = (make_private_fingerprint(identity, "t", SPACE, seed=seed) for seed in (1, 2))
    both = {kind: sketch + second.sketches[kind] for kind, sketch in first.sketches.items()}
    noise = {name: 2 * variance for name, variance in first.privacy.noise.items()}
    card = replace(first.card, n_images=both["cdf"].n)
    joined = stating(replace(first, sketches=both, card=card), cohorts=2, noise=noise)
    assert admitted(identity, joined).privacy.cohorts == 2
    refused(identity, stating(joined, cohorts=3), "protects patients less than it says")


def test_a_smaller_rho_than_the_noise_supports_is_refused(identity, sent):
    rho = Fraction(sent.privacy.rho) * Fraction(99, 100)
    lying = stating(sent, rho=str(rho), eps=eps_of(rho, 1e-6))
    refused(identity, lying, r"claims ρ = 0\.494\d+, but noise of the variances it states costs 0\.4999")


def test_patients_that_weigh_more_than_the_noise_was_made_for_are_refused(identity):
    fingerprint = make_private_fingerprint(identity, "t", SPACE)
    refused(
        identity, stating(fingerprint, images_per_patient=2, weight=2), "protects patients less than it says"
    )


@pytest.mark.parametrize("factor", [0.99, 1.02])
def test_an_eps_that_does_not_follow_from_rho_is_refused(identity, sent, factor):
    refused(identity, stating(sent, eps=sent.privacy.eps * factor), "but its ρ gives")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mechanism", "Laplace"),
        ("unit", ""),
        ("unit", "hospital"),
        ("neighbours", "replace one"),
        ("delta", 0.01),
        ("delta", 0.0),
        ("images_per_patient", 0),
        ("images_per_patient", 11),
        ("images_per_patient", 2**60),
        ("weight", 2),
        ("cohorts", 0),
        ("edges", " "),
        ("ledger_seq", None),
        ("ledger_seq", "7"),
        ("ledger_hash", ""),
    ],
)
def test_an_incomplete_or_impossible_statement_is_refused(identity, sent, field, value):
    refused(identity, stating(sent, **{field: value}), f"says {field} = .*impossible")


def test_noise_must_be_stated_for_every_array(identity, sent):
    some = {name: variance for name, variance in sent.privacy.noise.items() if name != "cdf.n_images"}
    refused(identity, stating(sent, noise=some), "names noise in .*its arrays are .*cdf.n_images")


@pytest.mark.parametrize("rho", ["1/0", "1e999999999", "-1", "0.5", "nan", "٣", "1/" + "9" * 400])
def test_a_rho_that_is_no_plain_fraction_is_refused_at_once(identity, sent, rho):
    refused(identity, stating(sent, rho=rho), "ρ|header")


def test_a_card_that_counts_other_patients_than_the_noisy_sketches_is_refused(identity, sent):
    more = replace(sent.card, n_images=sent.card.n_images + 1)
    refused(identity, replace(sent, card=more), "its cdf sketch counts .* patients, its card")


def test_sketches_that_count_differently_by_more_than_noise_are_refused(identity, sent):
    histogram = sent.sketches["histogram"]
    shifted = replace(histogram, counts=histogram.counts + 50)
    forged = replace(sent, sketches={**sent.sketches, "histogram": shifted})
    refused(identity, forged, "its histogram sketch counts .* its card")


def forge_histogram(fingerprint, change):
    histogram = fingerprint.sketches["histogram"]
    counts = histogram.counts.copy()
    change(counts)
    return replace(
        fingerprint, sketches={**fingerprint.sketches, "histogram": replace(histogram, counts=counts)}
    )


def test_rows_that_differ_by_more_than_noise_are_refused(identity, sent):
    def move_patients_between_features(counts):
        counts[0, 0] += 45
        counts[1, 0] -= 45

    refused(identity, forge_histogram(sent, move_patients_between_features), "rows of its histogram differ")


def test_counts_that_no_noise_explains_are_refused(identity, sent):
    def put_all_mass_elsewhere(counts):
        counts[:, 0] += 900
        counts[:, 1] -= 900

    refused(identity, forge_histogram(sent, put_all_mass_elsewhere), "histogram.counts holds -")


def test_sums_that_no_images_have_are_refused(identity, sent):
    cdf = sent.sketches["cdf"]
    forged = replace(sent, sketches={**sent.sketches, "cdf": replace(cdf, curve=cdf.curve * 1000)})
    refused(identity, forged, "cdf.curve holds")


def test_private_means_noise_and_open_means_none(identity, sent):
    exact = make_fingerprint(identity, "t", make_space())
    private = replace(exact, privacy=PrivacyStatement(TrustMode.PRIVATE))
    refused(identity, private, "trust mode is 'private', its mechanism 'none'", make_space())
    refused(identity, stating(sent, mode=TrustMode.OPEN), "trust mode is 'open', its mechanism 'discrete")
    listening = replace(exact, privacy=PrivacyStatement(TrustMode.LISTEN))
    refused(identity, listening, "nothing leaves", make_space())


def test_noise_that_left_no_patient_is_refused(identity, sent):
    sketch = sent.sketches["histogram"]
    empty = HistogramSketch(np.zeros_like(sketch.counts), noise=sketch.noise)
    refused(identity, replace(sent, sketches={**sent.sketches, "histogram": empty}), "from no image")


def with_noise_stated(fingerprint, factor):
    """The same numbers, said to carry so many times their noise."""
    noise = {name: factor * variance for name, variance in fingerprint.privacy.noise.items()}
    sketches = {
        kind: replace(sketch, noise={name: factor * variance for name, variance in sketch.noise.items()})
        for kind, sketch in fingerprint.sketches.items()
    }
    rho = Fraction(fingerprint.privacy.rho)
    return stating(replace(fingerprint, sketches=sketches), noise=noise, rho=str(rho))


def test_more_noise_than_there_is_would_lower_distances_and_is_refused(identity):
    space = make_noisy_space("mean-embedding")
    fingerprint = make_private_fingerprint(identity, "t", space, n=500)
    refused(identity, with_noise_stated(fingerprint, 10**6), "less noise in it than it says", space)


def test_exact_counts_that_are_said_to_be_noisy_are_refused():
    exact = HistogramSketch(np.full((1280, 4), 250), noise={"counts": 100})
    with pytest.raises(IntakeError, match="less than the noise it states"):
        _check_rows(exact)
