"""Edges from a cohort's coarse histogram: near the true quantiles, always valid, public where noise rules."""

from dataclasses import replace

import numpy as np
import pytest
from factories import make_features, make_space
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from randomness import stream

from federation.calibration import calibrate, coarse_edges, nearest_histograms
from federation.errors import SpaceError, SpaceMismatchError
from federation.privacy.accounting import rho_for
from federation.privacy.mechanism import add_noise
from federation.sketches import HistogramSketch
from federation.space import edges_from_reference

BINNINGS = ("equal-width", "skewed", "equal-mass")
REFERENCE = make_features(0, 480)


def coarse_space(n_coarse=64, reference=REFERENCE):
    return replace(make_space(), edges=coarse_edges(reference, n_coarse))


def exact(features, coarse):
    return HistogramSketch.from_features(features, coarse.edges)


def noisy(features, coarse, eps, seed=0):
    sketches = {"histogram": exact(features, coarse)}
    return add_noise(sketches, rho_for(eps, 1e-6), 1, stream(seed)).sketches["histogram"]


def share_below(features, edges):
    """float64 [n_features, n_bins + 1]."""
    return np.stack(
        [(column[:, None] < row).mean(axis=0) for column, row in zip(features.T, edges, strict=True)]
    )


@settings(max_examples=50)
@given(st.integers(0, 2**16), st.integers(2, 80), st.integers(1, 12), st.floats(-1, 1))
def test_quantiles_of_an_exact_histogram_are_within_one_coarse_bin(seed, n_coarse, n_bins, shift):
    coarse, features = coarse_space(n_coarse), make_features(seed, 300, shift)
    found = calibrate(coarse, exact(features, coarse), REFERENCE, n_bins, "equal-mass")
    width = np.diff(coarse.edges, axis=1)[:, :1] * (1 + 1e-9)
    inside = np.clip(features, coarse.edges[:, 0], np.nextafter(coarse.edges[:, -1], -np.inf))
    wanted = np.arange(n_bins + 1) / n_bins
    assert (share_below(inside, found.edges - width) <= wanted + 1e-9).all()
    assert (share_below(inside, found.edges + width) >= wanted - 1e-9).all()
    assert found.n_public == 0


@pytest.mark.parametrize("binning", BINNINGS)
def test_a_cohort_like_the_reference_gets_its_edges_to_within_a_coarse_bin(binning):
    coarse = coarse_space()
    found = calibrate(coarse, exact(REFERENCE, coarse), REFERENCE, 10, binning)
    public = edges_from_reference(REFERENCE, 10, binning)
    inner = slice(1, -1) if binning == "equal-mass" else slice(None)  # equal-mass ends at the extremes
    bins = np.abs(found.edges - public)[:, inner] / np.diff(coarse.edges, axis=1)[:, :1]
    assert bins.max() <= 1


@pytest.mark.parametrize("binning", ["equal-width", "skewed"])
def test_the_range_runs_from_the_5_to_the_95_percent_quantile(binning):
    coarse, features = coarse_space(100), make_features(1, 2000) * 0.5 + 0.1
    found = calibrate(coarse, exact(features, coarse), REFERENCE, 4, binning).edges
    expected = edges_from_reference(features, 4, binning)
    assert np.abs(found - expected).max() <= np.diff(coarse.edges, axis=1).max()


numbers = st.integers(-(10**6), 10**6)


@settings(max_examples=100)
@given(
    arrays(np.int64, (6, 16), elements=numbers),
    st.integers(1, 20),
    st.sampled_from(BINNINGS),
    st.integers(0, 10**9),
)
def test_whatever_the_counts_the_edges_are_valid(counts, n_bins, binning, variance):
    coarse = coarse_space(16)
    noise = {"counts": variance} if variance else {}
    counts = counts if variance else np.tile(np.sort(np.abs(counts[:1])), (6, 1))
    found = calibrate(coarse, HistogramSketch(counts, coarse.edges, noise=noise), REFERENCE, n_bins, binning)
    assert replace(coarse, edges=found.edges).n_bins == n_bins
    assert ((found.trust >= 0) & (found.trust <= 1)).all()


@settings(max_examples=50)
@given(arrays(np.float64, (3, 9), elements=st.floats(-5, 5)), arrays(np.float64, 9, elements=st.floats(0, 1)))
def test_no_histogram_is_nearer_than_the_projection(rows, other):
    rows = rows - rows.mean(axis=1, keepdims=True) + 1 / 9
    nearest = nearest_histograms(rows)
    other = other / other.sum() if other.sum() > 0 else np.full(9, 1 / 9)
    assert (nearest >= 0).all()
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    distance, others = (((rows - x) ** 2).sum(axis=1) for x in (nearest, other))
    assert (distance <= others + 1e-9).all()


def test_a_histogram_is_its_own_projection():
    rows = np.random.default_rng(0).dirichlet(np.ones(8), 5)
    np.testing.assert_allclose(nearest_histograms(rows), rows, atol=1e-15)


@pytest.mark.parametrize("binning", BINNINGS)
def test_with_noise_at_eps_1_five_thousand_patients_are_cut_close_to_their_quantiles(binning):
    coarse, features = coarse_space(), make_features(3, 5000, 0.3)
    true = calibrate(coarse, exact(features, coarse), REFERENCE, 4, binning)
    found = calibrate(coarse, noisy(features, coarse, 1.0), REFERENCE, 4, binning)
    cut = share_below(features, found.edges)[:, 1:-1] - share_below(features, true.edges)[:, 1:-1]
    assert np.abs(cut).max() < 0.04
    assert found.n_public == 0


def test_edges_of_a_cohort_that_noise_drowns_stay_the_public_ones():
    coarse, features = coarse_space(), make_features(3, 30)
    found = calibrate(coarse, noisy(features, coarse, 0.1), REFERENCE, 4, "equal-mass")
    kept = found.trust == 0
    assert found.n_public == kept.sum() >= 1
    public = edges_from_reference(REFERENCE, 4, "equal-mass")
    np.testing.assert_array_equal(found.edges[kept], public[kept])
    assert (found.shift[kept] == 0).all()


def test_noise_never_makes_a_cohort_like_the_reference_much_worse_than_public_edges():
    coarse, features = coarse_space(16), make_features(5, 500)
    wanted = np.arange(1, 4) / 4

    def error(seed):
        found = calibrate(coarse, noisy(features, coarse, 0.2, seed), REFERENCE, 4, "equal-mass")
        return np.abs(share_below(features, found.edges)[:, 1:-1] - wanted).mean()

    assert np.mean([error(seed) for seed in range(8)]) < 0.1


def test_a_cohort_without_images_keeps_the_public_edges():
    coarse = coarse_space()
    found = calibrate(coarse, HistogramSketch.zero(coarse.edges), REFERENCE, 4, "equal-width")
    assert found.n_public == coarse.n_features
    assert found.median_shift == 0
    np.testing.assert_array_equal(found.edges, edges_from_reference(REFERENCE, 4, "equal-width"))


def test_a_feature_that_is_constant_everywhere_has_valid_edges_around_its_value():
    reference, features = REFERENCE.copy(), make_features(2, 100)
    reference[:, 0] = features[:, 0] = 3.0
    coarse = coarse_space(64, reference)
    for binning in BINNINGS:
        edges = calibrate(coarse, exact(features, coarse), reference, 4, binning).edges[0]
        assert 2 <= edges[0] <= edges[-1] <= 4
        assert np.abs(edges - 3).max() <= 2 / 64  # one coarse bin
        assert (np.diff(edges) > 0).all()


def test_what_moved_is_told_in_coarse_bins():
    coarse, features = coarse_space(), make_features(3, 5000, 0.3)
    found = calibrate(coarse, exact(features, coarse), REFERENCE, 4, "equal-mass")
    public = edges_from_reference(REFERENCE, 4, "equal-mass")
    width = np.diff(coarse.edges, axis=1)[:, 0]
    np.testing.assert_allclose(found.shift, np.abs(found.edges - public)[:, 1:-1].mean(axis=1) / width)
    assert found.median_shift > 1


def test_a_histogram_of_another_space_and_too_few_bins_are_refused():
    coarse, other = coarse_space(), coarse_space(16)
    with pytest.raises(SpaceMismatchError, match="6 features × 16 bins"):
        calibrate(coarse, exact(REFERENCE, other), REFERENCE, 4, "equal-mass")
    with pytest.raises(SpaceError, match="1 coarse bins"):
        coarse_edges(REFERENCE, 1)
    with pytest.raises(SpaceError, match="cannot place 0 bins"):
        calibrate(coarse, exact(REFERENCE, coarse), REFERENCE, 0, "equal-mass")
