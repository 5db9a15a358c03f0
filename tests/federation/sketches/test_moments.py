from dataclasses import replace

import numpy as np
import pytest
from factories import N_FEATURES, make_features, make_space
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from federation.errors import FingerprintError, PolicyError, SpaceError, SpaceMismatchError
from federation.sketches import MomentSketch
from federation.sketches.moments import DEFAULT_STEP
from tests.support.sensitivity import assert_reached, assert_within

EDGES = np.array([[0.0, 1.0]])
ZERO = MomentSketch.zero(N_FEATURES)
CLIPPED = MomentSketch.zero(N_FEATURES, clip=2.0)
FIRST = MomentSketch.zero(N_FEATURES, step=2.0**-7, clip=2.0, order=1)
values = st.floats(-1024, 1024, width=32) | st.sampled_from([0.0, -0.0, 1.0, 1e-45, 1024.0, -1024.0])
feature_arrays = arrays(np.float32, st.tuples(st.integers(0, 20), st.just(N_FEATURES)), elements=values)


def space(**parameters):
    return replace(make_space(), sketches={"histogram": {}, "moments": parameters})


def by_python_integers(x):
    """Sums and products of the rounded features in arithmetic of any length."""
    steps = [[round(float(v) / DEFAULT_STEP) for v in row] for row in x]
    d = N_FEATURES
    sums = [sum(row[i] for row in steps) for i in range(d)]
    products = [sum(row[i] * row[j] for row in steps) for i in range(d) for j in range(i, d)]
    return [len(x), *sums, *products]


@given(feature_arrays)
def test_sums_are_exact_however_large_the_products_are(x):
    assert ZERO.update(x).to_vector().tolist() == by_python_integers(x)


@pytest.mark.parametrize("zero", [ZERO, CLIPPED])
@given(a=feature_arrays, b=feature_arrays)
def test_sketches_add_like_their_images(zero, a, b):
    both = zero.update(np.concatenate([a, b]))
    assert zero.update(a) + zero.update(b) == both
    assert zero.update(a).update(b) == both
    assert both.n == len(a) + len(b)


@given(feature_arrays, st.randoms(use_true_random=False))
def test_neither_order_nor_batches_change_a_bit(x, random):
    one_by_one = CLIPPED
    for i in random.sample(range(len(x)), len(x)):
        one_by_one = one_by_one.update(x[i : i + 1])
    assert one_by_one == CLIPPED.update(np.asfortranarray(x))


def test_batches_change_nothing_for_many_features_and_images():
    x = np.random.default_rng(0).gamma(0.5, 1, (500, 700)).astype(np.float32)
    split = zero = MomentSketch.zero(700)
    for part in np.array_split(x, 11):
        split = split.update(part)
    assert split == zero.update(x)


def test_mean_and_covariance_are_those_of_the_features():
    x = make_features(3, 400)
    sketch = ZERO.update(x)
    np.testing.assert_allclose(sketch.mean(), x.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(sketch.covariance(), np.cov(x.T, bias=True), atol=1e-5)


def test_moments_of_features_on_the_grid_are_exact_to_rounding():
    x = np.rint(make_features(3, 400).astype(float) * 256) / 256 + 900
    sketch = ZERO.update(x)
    np.testing.assert_allclose(sketch.mean(), x.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(sketch.covariance(), np.cov(x.T, bias=True), rtol=1e-9, atol=1e-12)


@given(arrays(np.float32, (1, N_FEATURES), elements=values), st.integers(1, 1000))
def test_one_image_and_constant_features_have_no_variance(x, n):
    np.testing.assert_array_equal(ZERO.update(np.repeat(x, n, axis=0)).covariance(), 0)


def test_no_image_gives_zeros():
    np.testing.assert_array_equal(ZERO.mean(), 0)
    np.testing.assert_array_equal(ZERO.covariance(), 0)


@given(feature_arrays.filter(len), st.integers(1, 3))
def test_one_patient_moves_the_vector_at_most_by_the_sensitivity(x, times):
    assert_within(CLIPPED, CLIPPED.update(np.repeat(x, times, axis=0)), len(x) * times)


def test_the_sensitivity_is_tight():
    along_one_axis = CLIPPED.update(np.eye(1, N_FEATURES) * 99)
    even = CLIPPED.update(np.full((1, N_FEATURES), 99.0))
    for array in ("sums", "products"):
        assert_reached(CLIPPED, along_one_axis, even, array)


def test_clipping_scales_long_vectors_and_leaves_short_ones():
    x = np.zeros((2, N_FEATURES))
    x[0, :2], x[1, :2] = (3, 4), (0.3, 0.4)
    clipped = MomentSketch.zero(N_FEATURES, clip=2.5).update(x)
    np.testing.assert_allclose(clipped.mean()[:2], [(1.5 + 0.3) / 2, (2 + 0.4) / 2], atol=1e-5)


def test_a_private_space_clips_at_the_public_norm_and_keeps_first_moments_only():
    reference = np.array([[3.0, 4.0], [6.0, 8.0], [0.3, 0.4]])
    found = MomentSketch.private_parameters(reference, np.zeros((2, 3)))
    assert found == {"clip": 5.5, "step": 2.0**-6, "order": 1}
    assert 2**8 <= found["clip"] / found["step"] < 2**9
    with pytest.raises(SpaceError, match="fix no clip norm"):
        MomentSketch.private_parameters(np.zeros((3, 2)), np.zeros((2, 3)))


def test_first_moments_are_those_of_the_sketch_with_products():
    x = make_features(3)
    first, both = FIRST.update(x), MomentSketch.zero(N_FEATURES, step=2.0**-7, clip=2.0).update(x)
    np.testing.assert_array_equal(first.sums, both.sums)
    assert (first.order, both.order) == (1, 2)
    assert set(first.arrays()) == set(first.shares) == {"n_images", "sums"}
    assert sum(first.shares.values()) == 1
    assert first.from_vector(first.to_vector()) == first
    with pytest.raises(SpaceMismatchError, match="cannot be added"):
        first + both


def test_first_moments_survive_storage_and_have_no_covariance():
    sketch = MomentSketch.for_space(space(clip=2, order=1)).update(make_features(1))
    stored = MomentSketch.from_arrays(sketch.arrays())
    assert stored.bind(space(clip=2, order=1)) == sketch
    with pytest.raises(FingerprintError, match="no covariance"):
        stored.covariance()
    with pytest.raises(FingerprintError, match="no features can have"):
        MomentSketch.from_arrays({"n_images": np.array([1]), "sums": np.array([2**27, 0])})


@given(feature_arrays, feature_arrays, st.integers(1, 3))
def test_one_patient_never_moves_first_moments_further_than_declared(others, own, k):
    without = FIRST.update(others)
    assert_within(without, without.update(own[:k]), k)


def test_without_a_clip_norm_there_is_no_sensitivity():
    with pytest.raises(PolicyError, match="without a clip norm"):
        ZERO.sensitivity(1)
    with pytest.raises(PolicyError, match="bound nothing"):
        CLIPPED.sensitivity(0)


def test_a_sketch_survives_storage_and_gets_its_clip_norm_from_the_space():
    sketch = MomentSketch.for_space(space(clip=2)).update(make_features(1))
    stored = MomentSketch.from_arrays(sketch.arrays())
    assert (stored.step, stored.clip) == (1.0, None)
    assert stored.bind(space(clip=2)) == sketch
    assert sketch.from_vector(sketch.to_vector()) == sketch
    assert MomentSketch.for_space(space()) == ZERO


def test_a_sketch_of_other_features_does_not_fit_the_space():
    with pytest.raises(SpaceMismatchError, match="6 numbers does not fit a space that gives it 28"):
        MomentSketch.zero(2).bind(space())


def test_too_many_features_are_refused():
    assert MomentSketch.zero(2048).n_features == 2048
    with pytest.raises(SpaceError, match="2049 features need 2100225 products, only 2048"):
        MomentSketch.zero(2049)


@pytest.mark.parametrize("clip", [0.0, -1.0, np.nan, np.inf, 1025.0])
def test_impossible_clip_norms_are_refused(clip):
    with pytest.raises(SpaceError, match="clip norm"):
        MomentSketch.zero(3, clip=clip)


@pytest.mark.parametrize("step", [0.0, -1.0, 3.0, np.nan, np.inf, 2.0**-401])
def test_impossible_steps_are_refused(step):
    with pytest.raises(SpaceError, match="no power of two"):
        MomentSketch.zero(3, step=step)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 3e7])
def test_the_step_follows_the_public_reference_so_that_any_scale_keeps_its_precision(scale):
    x = make_features(0, 300).astype(np.float64) * scale
    parameters = MomentSketch.parameters(make_features(1, 300) * scale, EDGES)
    sketch = MomentSketch.for_space(space(**parameters)).update(x)
    np.testing.assert_allclose(sketch.mean(), x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.diag(sketch.covariance()), x.var(axis=0), rtol=1e-5)
    assert 2**15 <= np.sqrt(np.mean(make_features(1, 300) ** 2)) * scale / parameters["step"] < 2**16


def test_a_reference_of_zeros_fixes_no_step():
    with pytest.raises(SpaceError, match=r"size 0\.0 fix no step"):
        MomentSketch.parameters(np.zeros((5, 3)), EDGES)


@pytest.mark.parametrize("parameters", [{"clip": "2"}, {"step": "2"}, {"clup": 2}, {"order": 3}])
def test_unknown_parameters_of_a_space_are_refused(parameters):
    with pytest.raises(SpaceError, match="no parameters but the numbers step and clip"):
        MomentSketch.for_space(space(**parameters))


@pytest.mark.parametrize("features", [np.ones((2, 4)), np.ones(6), np.full((2, 6), np.nan)])
def test_bad_features_are_refused(features):
    with pytest.raises(FingerprintError, match="features"):
        ZERO.update(features)


def test_features_too_large_to_sum_exactly_are_refused_unless_clipped():
    x = np.full((1, N_FEATURES), 1e5)
    with pytest.raises(FingerprintError, match=r"size 1e\+05 is beyond 1024"):
        ZERO.update(x)
    assert CLIPPED.update(x).n == 1


def test_sums_that_would_wrap_are_refused_and_the_sketch_stays():
    image = ZERO.update(np.full((1, N_FEATURES), 1024.0))
    grown = image
    for _ in range(10):
        grown = grown + grown
    before = grown.to_vector()
    with pytest.raises(FingerprintError, match="products would overflow 64 bits"):
        grown + grown
    np.testing.assert_array_equal(grown.to_vector(), before)
    assert (before > 0).all()


def test_moments_with_other_clip_norms_are_not_added():
    with pytest.raises(SpaceMismatchError, match=r"None, .*2\.0, .*cannot be added"):
        ZERO + CLIPPED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_images": np.array([-1])}, "of -1 images"),
        ({"n_images": np.array([0])}, "no features can have"),
        ({"sums": np.array([1.0, 2.0])}, "float64"),
        ({"sums": np.array([99, 0])}, "no features can have"),
        ({"products": np.array([9, 0, -4])}, "no features can have"),
        ({"products": np.array([9, 10, 4])}, "no features can have"),
        ({"products": np.array([9, -10, 4])}, "no features can have"),
        ({"products": np.array([9, 4])}, "expected integers \\[3\\]"),
        ({"sums": np.zeros(2049, dtype=int)}, "more than 2048"),
        ({"more": np.array([1])}, "cannot hold the arrays"),
    ],
)
def test_impossible_arrays_are_refused(changes, message):
    good = {"n_images": np.array([1]), "sums": np.array([3, 2]), "products": np.array([9, 6, 4])}
    assert MomentSketch.from_arrays(good).n == 1
    with pytest.raises(FingerprintError, match=message):
        MomentSketch.from_arrays({**good, **changes})
