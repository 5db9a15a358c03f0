from dataclasses import replace

import numpy as np
import pytest
from factories import N_FEATURES, make_features, make_space
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from federation.errors import FingerprintError, PolicyError, SpaceError, SpaceMismatchError
from federation.sketches import MeanEmbeddingSketch
from federation.sketches.random_features import AMPLITUDE, RandomFeatures
from tests.support.sensitivity import assert_within

DRAW = RandomFeatures(N_FEATURES, "cauchy", 4.0, 32)
EDGES = np.array([[0.0, 1.0]])
ZERO = MeanEmbeddingSketch.zero(DRAW)
COARSE = MeanEmbeddingSketch.zero(replace(DRAW, amplitude=64))
PARAMETERS = {"kernel": "gaussian", "bandwidth": 3.5, "n_random": 16, "seed": 0}
values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 1.0, 1e-45])
feature_arrays = arrays(np.float32, st.tuples(st.integers(0, 20), st.just(N_FEATURES)), elements=values)


def space(**changes):
    return replace(make_space(), sketches={"histogram": {}, "mean-embedding": {**PARAMETERS, **changes}})


@given(feature_arrays, feature_arrays)
def test_sketches_add_like_their_images(a, b):
    both = ZERO.update(np.concatenate([a, b]))
    assert ZERO.update(a) + ZERO.update(b) == both
    assert ZERO.update(a).update(b) == both
    assert both.n == len(a) + len(b)


@given(feature_arrays, st.randoms(use_true_random=False))
def test_neither_order_nor_batches_change_a_bit(x, random):
    order = random.sample(range(len(x)), len(x))
    one_by_one = ZERO
    for i in order:
        one_by_one = one_by_one.update(x[i : i + 1])
    assert one_by_one == ZERO.update(x)


def test_batches_change_nothing_for_many_features_and_images():
    x = np.random.default_rng(0).gamma(0.5, 1, (300, 1280)).astype(np.float32)
    zero = MeanEmbeddingSketch.zero(RandomFeatures(1280, "gaussian", 1300.0, 64))
    split = zero
    for part in np.array_split(x, 7):
        split = split.update(np.asfortranarray(part))
    assert split == zero.update(x)


@given(feature_arrays.filter(len), st.integers(1, 3))
def test_one_patient_moves_the_vector_at_most_by_the_sensitivity(x, times):
    assert_within(ZERO, ZERO.update(np.repeat(x, times, axis=0)), len(x) * times)


def test_the_sensitivity_is_tight():
    largest = max(np.linalg.norm(ZERO.update(x[None]).sums) for x in make_features(0, 200))
    bound = ZERO.sensitivity(1)["sums"]
    assert largest**2 == pytest.approx(bound.l2_squared, rel=3e-5)
    assert bound.l2_squared == pytest.approx((AMPLITUDE * 4) ** 2, rel=1e-4)
    assert bound.l1 == pytest.approx(AMPLITUDE * np.sqrt(2) * 16, rel=1e-4)


def test_a_sketch_survives_storage_and_gets_its_random_features_from_the_space():
    sketch = MeanEmbeddingSketch.for_space(space()).update(make_features(1))
    stored = MeanEmbeddingSketch.from_arrays(sketch.arrays())
    assert stored.random_features is None
    assert stored.bind(space()) == sketch
    assert sketch.from_vector(sketch.to_vector()) == sketch


def test_a_sketch_of_another_length_does_not_fit_the_space():
    sketch = MeanEmbeddingSketch.for_space(space(n_random=8)).update(make_features(1))
    with pytest.raises(SpaceMismatchError, match="9 numbers does not fit a space that gives it 17"):
        sketch.bind(space())


def test_the_bandwidth_follows_the_public_reference():
    found = MeanEmbeddingSketch.parameters(np.array([[0.0], [1.0], [3.0]]), EDGES)
    assert found == {"kernel": "cauchy", "bandwidth": 4.0, "n_random": 4096, "seed": 0}
    assert MeanEmbeddingSketch.parameters(np.eye(2), EDGES)["bandwidth"] == 2.0


def test_a_private_space_has_few_random_features_in_coarse_units():
    found = MeanEmbeddingSketch.private_parameters(np.eye(3), EDGES)
    assert found["n_random"] == 512
    assert found["amplitude"] == 64
    assert found["bandwidth"] == 2.0


@given(feature_arrays, feature_arrays, st.integers(1, 3))
def test_in_coarse_units_one_patient_moves_the_vector_at_most_by_the_sensitivity(others, own, k):
    without = COARSE.update(others)
    assert_within(without, without.update(own[:k]), k)


def test_the_unit_changes_a_mean_embedding_by_its_rounding_only():
    x = make_features(0, 300)
    np.testing.assert_allclose(COARSE.update(x).mean(), ZERO.update(x).mean(), atol=0.5 / 64 / 4)


def test_sums_that_the_amplitude_of_the_space_excludes_do_not_bind():
    coarse = space(amplitude=64)
    fine = MeanEmbeddingSketch.for_space(space()).update(make_features(1))
    read = MeanEmbeddingSketch.from_arrays(fine.arrays())
    with pytest.raises(FingerprintError, match="at most 64 per image"):
        read.bind(coarse)
    noisy = MeanEmbeddingSketch.from_arrays(fine.arrays(), {"sums": 4})
    assert noisy.bind(coarse).amplitude == 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amplitude": 0}, "amplitude 0"),
        ({"amplitude": 64.0}, "whole ones"),
        ({"kernel": "laplace"}, "unknown kernel 'laplace'"),
        ({"bandwidth": 0}, "no positive number"),
        ({"bandwidth": "wide"}, "use numbers"),
        ({"n_random": 2.5}, "whole ones"),
        ({"n_random": 3}, "no even number"),
        ({"seed": -4}, "seed -4"),
        ({"extra": 1}, "not \\['bandwidth', 'extra'"),
    ],
)
def test_impossible_parameters_of_a_space_are_refused(changes, message):
    with pytest.raises(SpaceError, match=message):
        MeanEmbeddingSketch.for_space(space(**changes))


def test_missing_parameters_are_refused():
    with pytest.raises(SpaceError, match=r"kernel, bandwidth, n_random and seed, not \[\]"):
        MeanEmbeddingSketch.for_space(make_space())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_images": np.array([-1])}, "of -1 images"),
        ({"n_images": np.array([1, 2])}, "expected integers \\[1\\]"),
        ({"n_images": np.array([2.0])}, "float64"),
        ({"sums": np.array([AMPLITUDE * 2 + 1, 0])}, "at most 65536 per image"),
        ({"sums": np.zeros((2, 2), dtype=int)}, "expected integers \\[4\\]"),
        ({"more": np.array([1])}, "cannot hold the arrays"),
    ],
)
def test_impossible_arrays_are_refused(changes, message):
    good = {"n_images": np.array([2]), "sums": np.array([5, -AMPLITUDE * 2])}
    assert MeanEmbeddingSketch.from_arrays(good).n == 2
    with pytest.raises(FingerprintError, match=message):
        MeanEmbeddingSketch.from_arrays({**good, **changes})


@pytest.mark.parametrize("features", [np.ones((2, 4)), np.ones(6), np.full((2, 6), np.nan)])
def test_bad_features_are_refused(features):
    with pytest.raises(FingerprintError, match="features"):
        ZERO.update(features)


def test_embeddings_of_other_frequencies_are_not_added():
    other = MeanEmbeddingSketch.zero(replace(DRAW, seed=1))
    with pytest.raises(SpaceMismatchError, match="cannot be added"):
        ZERO + other
    bare = MeanEmbeddingSketch.from_arrays(ZERO.arrays())
    with pytest.raises(SpaceMismatchError, match="no random features"):
        bare.update(make_features(0))
    with pytest.raises(SpaceMismatchError, match="no random features"):
        bare.sensitivity(1)


def test_sums_that_would_wrap_are_refused():
    full = replace(ZERO, sums=np.full(32, 2**63 - 1), n_images=1)
    with pytest.raises(FingerprintError, match="overflow 64 bits"):
        full + full


def test_no_images_per_patient_bound_nothing():
    with pytest.raises(PolicyError, match="bound nothing"):
        ZERO.sensitivity(0)
