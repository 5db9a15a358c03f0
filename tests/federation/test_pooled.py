"""What a round of a cohort sums: noise, size and meaning of the vectors, the statement about the sum."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from factories import make_features, make_noisy_space, make_space
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.canonical import canonical_json
from federation.errors import (
    BudgetError,
    CohortTooSmallError,
    FingerprintError,
    PolicyError,
    SpaceMismatchError,
    TermsError,
    VectorError,
)
from federation.pooled import PooledRelease
from federation.privacy.accounting import eps_of
from federation.privacy.noise import discrete_gaussian
from federation.privacy.statement import PrivacyStatement
from federation.secagg.terms import Terms
from federation.sketches import zeros
from federation.sketches.fisher_layout import LayerShape, Layout
from federation.sketches.fisher_parameters import FisherParameters
from federation.trust import TrustMode

SPACE = make_noisy_space("cdf", "histogram", "mean-embedding", "moments")
PLAIN = make_space(8)
RHO = Fraction(1, 10)
NOISY = PooledRelease.from_budget(SPACE, "lungs", RHO, 1e-6, 4, 3, 2_000)
EXACT = PooledRelease.from_budget(PLAIN, "lungs", None, 0.0, 0, 0)
MEMBERS = {name: f"{number:064x}" for number, name in enumerate("abcde")}


def sketches_of(space, seed, n=40, repeat=1):
    features = np.repeat(make_features(seed, n), repeat, axis=0)
    return {kind: sketch.update(features) for kind, sketch in zeros(space).items()}


def fisher_space(**parameters):
    fisher = FisherParameters(Layout((LayerShape("conv", 3, 1),)), **parameters)
    return replace(PLAIN, sketches={"histogram": {}, "fisher": fisher.to_space()})


def terms_for(release, space, **changes):
    values = {"length": release.length(space), "bound": release.bound(space, len(MEMBERS)), "expires": 4e9}
    return Terms.for_cohort("0f" * 16, "chests", MEMBERS, release.to_json(), **(values | changes))


def test_a_budget_is_kept_and_what_is_left_of_it_is_small():
    assert RHO * Fraction(99, 100) < NOISY.rho(SPACE) <= RHO
    assert set(NOISY.noise) == set(NOISY.layout(SPACE))
    assert (NOISY.weight, NOISY.is_exact, EXACT.weight, EXACT.is_exact) == (12, False, 1, True)


def test_fewer_honest_sites_and_less_noise_cost_more():
    assert replace(NOISY, honest=2).rho(SPACE) > NOISY.rho(SPACE)
    less = {name: share // 2 for name, share in NOISY.noise.items()}
    assert replace(NOISY, noise=less).rho(SPACE) > NOISY.rho(SPACE)


def test_an_exact_sum_has_no_price():
    with pytest.raises(BudgetError, match="no price"):
        EXACT.rho(PLAIN)


@pytest.mark.parametrize("release", [NOISY, EXACT], ids=["noisy", "exact"])
def test_a_release_survives_the_wire(release):
    assert PooledRelease.from_json(release.to_json()) == release
    assert canonical_json(PooledRelease.from_json(release.to_json()).to_json()) == canonical_json(
        release.to_json()
    )


@pytest.mark.parametrize(
    ("release", "changes"),
    [
        (NOISY, {"purpose": "gradients"}),
        (NOISY, {"task": "Two words"}),
        (NOISY, {"task": 3}),
        (NOISY, {"space_id": "12"}),
        (NOISY, {"images_per_patient": 0}),
        (NOISY, {"images_per_patient": 11}),
        (NOISY, {"images_per_patient": True}),
        (NOISY, {"noise": {}}),
        (NOISY, {"noise": {"histogram.counts": 15}}),
        (NOISY, {"noise": {"histogram.counts": 2**51}}),
        (NOISY, {"noise": {"histogram.counts": 64.0}}),
        (NOISY, {"noise": [64]}),
        (NOISY, {"honest": 0}),
        (NOISY, {"honest": 2.0}),
        (NOISY, {"delta": 0.0}),
        (NOISY, {"delta": 1}),
        (NOISY, {"delta": float("nan")}),
        (NOISY, {"max_patients": 0}),
        (NOISY, {"max_patients": 2**41}),
        (NOISY, {"unit": "hospital"}),
        (NOISY, {"unit": ""}),
        (NOISY, {"extra": 1}),
        (EXACT, {"images_per_patient": 4}),
        (EXACT, {"honest": 1}),
        (EXACT, {"delta": 1e-6}),
        (EXACT, {"unit": "patient"}),
    ],
)
def test_impossible_and_contradictory_releases_are_refused(release, changes):
    with pytest.raises(TermsError):
        PooledRelease.from_json(release.to_json() | changes)


@pytest.mark.parametrize("key", sorted(NOISY.to_json()))
def test_a_release_says_everything(key):
    value = NOISY.to_json()
    del value[key]
    with pytest.raises(TermsError):
        PooledRelease.from_json(value)


@pytest.mark.parametrize("missing", [True, False])
def test_noise_is_in_every_array_and_nowhere_else(missing):
    noise = dict(NOISY.noise)
    if missing:
        del noise["cdf.curve"]
    else:
        noise["cdf.else"] = 64
    with pytest.raises(TermsError, match="noise in"):
        replace(NOISY, noise=noise).rho(SPACE)


def test_a_sum_of_vectors_is_the_sketch_of_all_images():
    parts = [sketches_of(PLAIN, seed) for seed in (1, 2, 3)]
    total = sum(EXACT.to_vector(sketches) for sketches in parts)
    assert total.shape == (EXACT.length(PLAIN),)
    found = EXACT.from_vector(total, PLAIN)
    assert found["histogram"] == parts[0]["histogram"] + parts[1]["histogram"] + parts[2]["histogram"]


def test_an_opened_sum_with_noise_knows_its_noise():
    parts = [sketches_of(SPACE, seed, repeat=12) for seed in range(4)]
    names = NOISY.layout(SPACE)
    vectors = []
    for sketches in parts:
        noise = [discrete_gaussian(shape, NOISY.noise[name]).ravel() for name, shape in names.items()]
        vectors.append(NOISY.to_vector(sketches) + np.concatenate(noise))
    found = NOISY.from_vector(sum(vectors), SPACE, NOISY.total_noise(4))
    assert found["cdf"].noise == {array: 4 * NOISY.noise[f"cdf.{array}"] for array in ("curve", "n_images")}
    assert found["cdf"].n == pytest.approx(4 * 40 * 12, abs=8 * (4 * NOISY.noise["cdf.n_images"]) ** 0.5)
    assert max(int(np.abs(vector).max()) for vector in vectors) <= NOISY.bound(SPACE, 4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_no_patient_moves_a_number_beyond_what_the_bound_counts(seed, j):
    weight, j = 12, {5: 4, 7: 6, 8: 6, 9: 6, 10: 6, 11: 12}.get(j, j)
    features = np.repeat(make_features(seed, j, shift=seed % 7), weight // j, axis=0)
    patient = {kind: sketch.update(features) for kind, sketch in zeros(SPACE).items()}
    alone = replace(NOISY, max_patients=1)
    noise = 12 * max(NOISY.noise.values()) ** 0.5
    assert np.abs(NOISY.to_vector(patient)).max() <= alone.bound(SPACE, 3) - noise + 24


def test_counts_are_bounded_by_patients_and_noise_alone():
    release = PooledRelease.from_budget(PLAIN, "lungs", RHO, 1e-6, 4, 3, 1_000)
    share = release.noise["histogram.counts"]
    assert 0 <= release.bound(PLAIN, 5) - (12 * 1_000 + 12 * share**0.5) <= 12
    assert replace(EXACT, max_patients=1_000).bound(PLAIN, 5) == 1_000
    assert terms_for(release, PLAIN).bits == 32


def test_what_nothing_bounds_takes_all_of_64_bits():
    space = fisher_space(head="public")
    release = PooledRelease.from_budget(space, "lungs", None, 0.0, 0, 0)
    assert release.bound(space, 5) == (2**63 - 1) // 5
    assert terms_for(release, space).bits == 64
    with pytest.raises(PolicyError, match="no bounded sensitivity"):
        PooledRelease.from_budget(space, "lungs", RHO, 1e-6, 4, 3)


def test_the_terms_of_a_round_fit_what_it_sums():
    for release, space in ((NOISY, SPACE), (EXACT, PLAIN)):
        assert PooledRelease.of_terms(terms_for(release, space), space) == release


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"length": 7}, "length"),
        ({"bound": 10**9}, "bound"),
        ({"purpose": replace(NOISY, honest=5).to_json()}, "honest, of which 3 are sure"),
        ({"colluders": 1, "purpose": {"purpose": "else"}}, "purpose"),
        ({"minimum": 5, "purpose": NOISY.to_json() | {"noise": {"histogram.counts": 64}}}, "noise in"),
    ],
)
def test_terms_that_do_not_fit_are_refused(changes, match):
    terms = replace(terms_for(NOISY, SPACE), **changes)
    with pytest.raises(TermsError, match=match):
        PooledRelease.of_terms(terms, SPACE)


def test_another_space_is_refused():
    for use in (NOISY.rho, NOISY.length, lambda space: NOISY.bound(space, 3)):
        with pytest.raises(SpaceMismatchError, match="is about space"):
            use(PLAIN)
    with pytest.raises(SpaceMismatchError):
        PooledRelease.of_terms(terms_for(NOISY, SPACE), PLAIN)


@pytest.mark.parametrize(
    "vector",
    [np.zeros(5, np.int64), np.zeros(EXACT.length(PLAIN)), np.zeros((1, EXACT.length(PLAIN)), np.int64)],
)
def test_vectors_of_another_length_or_type_are_refused(vector):
    with pytest.raises(VectorError, match="expected int64"):
        EXACT.from_vector(vector, PLAIN)


def test_a_sum_that_no_images_have_is_refused():
    vector = EXACT.to_vector(sketches_of(PLAIN, 1))
    vector[3] += 1
    with pytest.raises(FingerprintError, match="rows do not all sum"):
        EXACT.from_vector(vector, PLAIN)


@pytest.mark.parametrize("head", ["fitted", "dp"])
def test_a_head_of_each_sites_own_cannot_be_pooled(head):
    space = fisher_space(head=head, clip=1.0)
    with pytest.raises(PolicyError, match=f"a head of each site's own \\('{head}'\\)"):
        PooledRelease.from_budget(space, "lungs", None, 0.0, 0, 0)
    release = replace(EXACT, space_id=space.space_id)
    with pytest.raises(PolicyError, match="head"):
        PooledRelease.of_terms(terms_for(release, space), space)


def test_an_exact_statement_names_mode_and_sites():
    statement = EXACT.statement(PLAIN, 5)
    assert statement == PrivacyStatement(TrustMode.POOLED, sites=5)


def test_a_noisy_statement_counts_honest_noise_for_privacy_and_all_for_distances():
    statement = NOISY.statement(SPACE, 5)
    assert (statement.sites, statement.honest, statement.mode) == (5, 3, TrustMode.POOLED)
    assert statement.noise == {name: 5 * share for name, share in NOISY.noise.items()}
    assert Fraction(statement.rho) == NOISY.rho(SPACE)
    assert statement.eps == eps_of(NOISY.rho(SPACE), 1e-6)
    assert (statement.unit, statement.weight, statement.cohorts) == ("patient", 12, 1)
    assert PrivacyStatement.from_json(statement.to_json()) == statement


@pytest.mark.parametrize(("release", "space", "n"), [(EXACT, PLAIN, 2), (NOISY, SPACE, 2)])
def test_a_sum_of_too_few_has_no_statement(release, space, n):
    with pytest.raises(CohortTooSmallError, match=f"a sum of {n} sites, expected at least 3"):
        release.statement(space, n)


def test_fewer_sites_than_are_relied_upon_have_no_statement():
    with pytest.raises(CohortTooSmallError, match="expected at least 4"):
        replace(NOISY, honest=4).statement(SPACE, 3)


def test_a_sum_about_patients_needs_sites_that_know_them():
    NOISY.require_unit("patient")
    with pytest.raises(PolicyError, match="nobody knows here which images are whose"):
        NOISY.require_unit("image")
    replace(NOISY, unit="image").require_unit("image")
    EXACT.require_unit("image")


def test_the_least_budget_that_buys_nothing_is_refused():
    with pytest.raises(BudgetError):
        PooledRelease.from_budget(SPACE, "lungs", Fraction(1, 2**70), 1e-6, 4, 3)
