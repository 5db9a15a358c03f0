from dataclasses import replace

import numpy as np
import pytest
from factories import make_features, make_space
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from federation.errors import FingerprintError, PolicyError, SpaceMismatchError
from federation.sketches import HistogramSketch
from federation.sketches.binning import Binner
from federation.space import edges_from_reference, equal_width_edges
from tests.support.sensitivity import assert_within, moves

EDGES = make_space(50).edges
values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e-45, -1e-45])
feature_arrays = arrays(np.float32, st.tuples(st.integers(0, 20), st.just(6)), elements=values)


@given(feature_arrays, feature_arrays)
def test_sketches_add_like_their_images(a, b):
    def sketch(x):
        return HistogramSketch.from_features(x, EDGES, exact_means=True)

    both = sketch(np.concatenate([a, b]))
    assert sketch(a) + sketch(b) == both
    assert sketch(a).update(b) == both


@given(feature_arrays)
def test_every_image_counts_once_in_every_feature(x):
    sketch = HistogramSketch.from_features(x, EDGES)
    assert sketch.n == len(x)
    assert (sketch.counts.sum(axis=1) == len(x)).all()


def by_search(x, edges):
    inner = edges[:, 1:-1]
    return np.stack([np.searchsorted(inner[f], x[:, f], side="right") for f in range(x.shape[1])], axis=1)


def hard_values(edges):
    """Values on every edge, a hair to either side, in both precisions, and far outside."""
    exact = edges.T
    around = [exact, np.nextafter(exact, -np.inf), np.nextafter(exact, np.inf), exact - 1e9, exact + 1e9]
    return np.concatenate(around)


@pytest.mark.parametrize("n_bins", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("binning", ["equal-width", "equal-mass"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_binning_agrees_with_a_search_among_the_explicit_edges(n_bins, binning, dtype):
    edges = edges_from_reference(make_features(1, 800), n_bins, binning)
    x = np.concatenate([hard_values(edges), make_features(2, 500)]).astype(dtype)
    np.testing.assert_array_equal(Binner(edges).bins(x), by_search(x.astype(np.float64), edges))


@given(feature_arrays)
def test_arithmetic_binning_never_disagrees_with_a_search(x):
    np.testing.assert_array_equal(Binner(EDGES).bins(x), by_search(x.astype(np.float64), EDGES))


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-9, 1e6),
    n_bins=st.sampled_from([1, 3, 100, 1000]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_binning_is_exact_for_ranges_of_any_place_and_width(low, width, n_bins, dtype):
    edges = equal_width_edges(np.array([low, 0.0]), np.array([low + width, width]), n_bins)
    x = hard_values(edges).astype(dtype)
    np.testing.assert_array_equal(Binner(edges).bins(x), by_search(x.astype(np.float64), edges))


def test_binning_is_exact_where_doubles_are_too_coarse_for_even_edges():
    low = np.array([1e9, 0.0, 0.0, 0.0])
    edges = equal_width_edges(low, low + np.array([1e-6, 1.0, 5e-324, 1e-310]), 100)
    x = hard_values(edges)
    np.testing.assert_array_equal(Binner(edges).bins(x), by_search(x, edges))


def test_one_uneven_feature_leaves_the_others_right():
    edges = EDGES.copy()
    edges[2, 1:-1] = np.sort(np.random.default_rng(0).uniform(edges[2, 0], edges[2, -1], 49))
    x = np.concatenate([hard_values(edges), make_features(2, 500)])
    for features in (x, x.astype(np.float32)):
        np.testing.assert_array_equal(
            Binner(edges).bins(features), by_search(features.astype(np.float64), edges)
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error")
def test_the_largest_and_smallest_numbers_have_a_bin(dtype):
    limits = np.finfo(dtype)
    x = np.repeat([limits.max, limits.min, limits.smallest_subnormal, -limits.smallest_subnormal], 6)
    x = x.reshape(4, 6).astype(dtype)
    np.testing.assert_array_equal(Binner(EDGES).bins(x), by_search(x.astype(np.float64), EDGES))


def test_the_memory_layout_of_features_does_not_matter():
    on_edges = np.ascontiguousarray(EDGES.T)
    for features in (np.asfortranarray(on_edges), np.repeat(on_edges, 2, axis=0)[::2]):
        np.testing.assert_array_equal(Binner(EDGES).bins(features), by_search(on_edges, EDGES))


def test_equal_mass_edges_with_ties_lose_no_image():
    mostly_zero = np.maximum(np.random.default_rng(0).normal(-1, 1, (400, 6)), 0)
    edges = edges_from_reference(mostly_zero, 8, "equal-mass")
    sketch = HistogramSketch.from_features(mostly_zero, edges)
    assert (sketch.counts.sum(axis=1) == 400).all()


def test_values_outside_the_edges_count_in_the_outer_bins():
    edges = equal_width_edges(np.zeros(1), np.ones(1), 4)
    sketch = HistogramSketch.from_features(np.array([[-5.0], [0.0], [1.0], [99.0]]), edges)
    np.testing.assert_array_equal(sketch.counts, [[2, 0, 0, 2]])


def test_a_constant_feature_gives_finite_frequencies_and_means():
    edges = edges_from_reference(np.full((9, 1), 2.0), 10, "equal-width")
    sketch = HistogramSketch.from_features(np.full((5, 1), 2.0), edges)
    assert sketch.frequencies().sum() == 1
    assert sketch.mean_features()[0] == pytest.approx(2.1)  # the centre of the bin that 2.0 opens


def test_a_thousand_bins_coarsen_to_exactly_the_hundred_of_the_coarser_space():
    features, space = make_features(4, 700), make_space(1000)
    fine = HistogramSketch.from_features(features, space.edges)
    assert fine.coarsen(10) == HistogramSketch.from_features(features, space.coarsen(10).edges)
    with pytest.raises(SpaceMismatchError, match="groups of 3"):
        fine.coarsen(3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    features = make_features(1, 3)
    features[1, 2] = bad
    with pytest.raises(FingerprintError, match="NaN or infinity"):
        HistogramSketch.from_features(features, EDGES)


def test_features_of_another_length_are_refused():
    with pytest.raises(FingerprintError, match=r"expected \[images, 6\]"):
        HistogramSketch.from_features(np.zeros((3, 5)), EDGES)


def test_exact_means_are_exact_and_binned_means_are_within_half_a_bin():
    features = np.clip(make_features(1, 1000), EDGES[:, 0], EDGES[:, -1] - 1e-9)
    exact = HistogramSketch.from_features(features, EDGES, exact_means=True).mean_features()
    binned = HistogramSketch.from_features(features, EDGES).mean_features()
    np.testing.assert_allclose(exact, features.mean(axis=0), atol=2**-24)
    assert (np.abs(binned - exact) <= np.diff(EDGES, axis=1)[:, 0] / 2).all()


def test_sums_that_would_overflow_are_refused_before_they_do():
    sketch = HistogramSketch.zero(EDGES, exact_means=True)
    with pytest.raises(FingerprintError, match="overflow"):
        sketch.update(np.full((2, 6), 2.0**39))


def test_a_vector_holds_everything_that_is_summed():
    sketch = HistogramSketch.from_features(make_features(1), EDGES, exact_means=True)
    assert sketch.from_vector(sketch.to_vector()) == sketch
    assert len(sketch.to_vector()) == sketch.counts.size + 6
    assert HistogramSketch.from_arrays(sketch.arrays()).with_edges(EDGES) == sketch


@given(st.integers(1, 5), feature_arrays, st.data())
def test_one_patient_never_moves_the_sketch_further_than_declared(k, others, data):
    n = data.draw(st.integers(0, k))
    own = data.draw(arrays(np.float32, (n, 6), elements=values))
    without = HistogramSketch.from_features(others, EDGES)
    assert_within(without, without.update(own), k)


def test_the_declared_sensitivity_is_reached_by_images_that_fall_together():
    sketch = HistogramSketch.zero(EDGES)
    bound = sketch.sensitivity(3)["counts"]
    assert moves(sketch, sketch.update(np.zeros((3, 6))))["counts"] == (bound.l1, bound.l2_squared)


def test_exact_means_have_no_declared_sensitivity():
    with pytest.raises(PolicyError, match="no bounded sensitivity"):
        HistogramSketch.zero(EDGES, exact_means=True).sensitivity(1)


def test_sketches_of_other_edges_or_settings_do_not_add():
    a = HistogramSketch.from_features(make_features(1), EDGES)
    for other in (
        replace(a, edges=EDGES + 1),
        HistogramSketch.zero(EDGES[:, ::5]),
        HistogramSketch.zero(EDGES, exact_means=True),
    ):
        with pytest.raises(SpaceMismatchError):
            a + other


@pytest.mark.parametrize("images", [0, -1])
def test_a_cap_of_no_images_per_patient_is_refused(images):
    with pytest.raises(PolicyError, match="bound nothing"):
        HistogramSketch.zero(EDGES).sensitivity(images)


def test_added_sums_that_would_overflow_are_refused():
    large = HistogramSketch(np.ones((6, 50), dtype=np.int64), EDGES, np.full(6, 2**62))
    with pytest.raises(FingerprintError, match="overflow"):
        large + large


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([[3, -1], [1, 1]], "negative"),
        ([[2**62, 2**62], [0, 2**63 - 1]], "beyond"),
        ([[1, 1], [1, 2]], "do not all sum"),
    ],
)
def test_counts_that_no_images_give_are_refused(rows, complaint):
    with pytest.raises(FingerprintError, match=complaint):
        HistogramSketch.from_arrays({"counts": np.array(rows, dtype=np.int64)})


@pytest.mark.parametrize("counts", [np.zeros(5, int), np.zeros((2, 3)), np.zeros((0, 4), int), [["a"]]])
def test_counts_that_are_no_integer_table_are_refused(counts):
    with pytest.raises(FingerprintError, match=r"expected integers of shape"):
        HistogramSketch(counts)


@pytest.mark.parametrize("name", ["labels", "count"])
def test_unknown_arrays_are_refused(name):
    with pytest.raises(FingerprintError, match="cannot hold"):
        HistogramSketch.from_arrays({name: np.ones((1, 2), int)})


def test_a_sketch_without_edges_is_compared_but_not_updated():
    bare = HistogramSketch(np.ones((6, 4), dtype=np.int64))
    np.testing.assert_allclose(bare.mean_features(), 0.5)
    with pytest.raises(SpaceMismatchError, match="no bin edges"):
        bare.update(np.zeros((1, 6)))
