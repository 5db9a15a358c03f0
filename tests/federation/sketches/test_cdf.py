from dataclasses import replace

import numpy as np
import pytest
from factories import N_FEATURES, make_features, make_space
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from federation.errors import FingerprintError, PolicyError, SpaceError, SpaceMismatchError
from federation.sketches import CdfSketch, decode_sketch, encode_arrays
from federation.sketches.cdf_parameters import CLIP, SCALE, CdfParameters, dyadic_order, n_thresholds
from federation.space import edges_from_reference
from tests.support.sensitivity import assert_within, moves

REFERENCE = make_features(0, 400)
EDGES = edges_from_reference(REFERENCE, 8, "skewed")
KNOWN = CdfParameters.of_reference(EDGES, REFERENCE)
LOOSE = CdfParameters.of_reference(EDGES, REFERENCE, clip=100.0)
ZERO = CdfSketch.zero(KNOWN)
values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 0.5, 1.0, 1e-45])
feature_arrays = arrays(np.float32, st.tuples(st.integers(0, 20), st.just(N_FEATURES)), elements=values)


def space(n_bins=8, **changes):
    edges = edges_from_reference(REFERENCE, n_bins, "skewed")
    parameters = CdfParameters.of_reference(edges, REFERENCE).to_space()
    return replace(make_space(n_bins), edges=edges, sketches={"cdf": {**parameters, **changes}})


@given(feature_arrays, feature_arrays)
def test_sketches_add_like_their_images(a, b):
    both = ZERO.update(np.concatenate([a, b]))
    assert ZERO.update(a) + ZERO.update(b) == both
    assert ZERO.update(a).update(b) == both
    assert both.n == len(a) + len(b)


@given(feature_arrays, st.randoms(use_true_random=False))
def test_neither_order_nor_batches_change_a_bit(x, random):
    one_by_one = ZERO
    for i in random.sample(range(len(x)), len(x)):
        one_by_one = one_by_one.update(x[i : i + 1])
    assert one_by_one == ZERO.update(x)


def test_large_batches_equal_small_ones():
    x = make_features(1, 300)
    split = ZERO
    for part in np.array_split(x, 7):
        split = split.update(np.asfortranarray(part))
    assert split == ZERO.update(x)


def test_thresholds_come_from_coarse_to_fine():
    assert dyadic_order(1).tolist() == [1]
    assert dyadic_order(3).tolist() == [4, 2, 6, 1, 3, 5, 7]
    assert sorted(dyadic_order(4)) == list(range(1, 16))


@pytest.mark.parametrize("n_levels", [1, 2])
def test_fewer_levels_are_the_first_rows_of_more_levels_where_nothing_is_clipped(n_levels):
    x = make_features(3, 90)
    few, all_ = CdfSketch.zero(LOOSE, n_levels).update(x), CdfSketch.zero(LOOSE).update(x)
    assert few.n_levels == n_levels
    np.testing.assert_array_equal(few.curve, all_.curve[: n_thresholds(n_levels)])


def test_coarser_bins_have_the_same_thresholds():
    fine, coarse = (
        CdfParameters.of_reference(EDGES[:, ::step], REFERENCE, clip=100.0).vectors(make_features(4, 50), 1)
        for step in (1, 4)
    )
    np.testing.assert_array_equal(fine, coarse)


def test_the_mean_is_the_share_of_images_below_each_threshold_less_its_centre():
    x = make_features(5, 200)
    found = CdfSketch.zero(LOOSE).update(x).mean(3) + LOOSE.centre / SCALE
    for row, edge in enumerate(dyadic_order(3)):
        np.testing.assert_allclose(found[row], (x < EDGES[:, edge]).mean(axis=0))


def test_the_public_reference_is_centred_and_gives_the_clip_norms():
    vectors = LOOSE.vectors(REFERENCE, 3)
    assert np.abs(vectors.mean(axis=0)).max() <= 0.5
    mean_square = (vectors**2).sum(axis=(1, 2)).mean()
    assert KNOWN.clips[2] == pytest.approx(CLIP * np.sqrt(mean_square), abs=1.5)


def test_vectors_beyond_the_norm_are_shortened_and_the_others_kept():
    clip = KNOWN.clips[2]
    plain = LOOSE.vectors(make_features(6, 200), 3).reshape(200, -1)
    clipped = KNOWN.vectors(make_features(6, 200), 3).reshape(200, -1)
    norms, kept = np.linalg.norm(plain, axis=1), (plain**2).sum(axis=1) <= clip**2
    assert 0 < kept.sum() < 200
    np.testing.assert_array_equal(clipped[kept], plain[kept])
    np.testing.assert_allclose(clipped[~kept], plain[~kept] * (clip / norms[~kept, None]), atol=1)
    assert ((clipped**2).sum(axis=1) <= clip**2).all()


def test_a_norm_that_is_a_hair_too_long_is_clipped():
    x = make_features(6, 1)
    square = int((LOOSE.vectors(x, 1) ** 2).sum())
    clip = int(np.sqrt(square - 1))
    assert (replace(LOOSE, clips=(clip, clip, clip)).vectors(x, 1) ** 2).sum() <= clip**2


@given(feature_arrays, st.integers(1, 3), st.integers(1, 300), feature_arrays)
def test_one_patient_never_moves_the_sketch_further_than_declared(others, n_levels, clip, own):
    before = CdfSketch.zero(replace(KNOWN, clips=(clip,) * 3), n_levels).update(others)
    assert_within(before, before.update(own), max(1, len(own)))


def test_the_declared_sensitivity_is_nearly_reached():
    norms = [moves(ZERO, ZERO.update(x[None]))["curve"][1] for x in make_features(1, 300)]
    assert max(norms) >= 0.9 * ZERO.sensitivity(1)["curve"].l2_squared
    assert ZERO.sensitivity(3)["n_images"].l2_squared == 9


def test_a_sketch_survives_storage_and_gets_its_thresholds_from_the_space():
    sketch = CdfSketch.for_space(space()).update(make_features(1))
    stored = decode_sketch("cdf", encode_arrays({"cdf": sketch}))
    assert stored.parameters_of_space is None
    assert stored.bind(space()) == sketch
    assert sketch.from_vector(sketch.to_vector()) == sketch


def test_a_sketch_of_fewer_levels_fits_a_space_of_more_but_not_the_other_way_round():
    few = CdfSketch.zero(KNOWN, 1).update(make_features(1))
    assert CdfSketch.from_arrays(few.arrays()).bind(space()).n_levels == 1
    with pytest.raises(SpaceMismatchError, match="3 levels of 6 features does not fit a space of 2 levels"):
        ZERO.bind(space(4))


def test_parameters_survive_the_space():
    read = CdfParameters.read(KNOWN.to_space(), EDGES)
    np.testing.assert_array_equal(read.centre, KNOWN.centre)
    assert (read.clips, read.clip) == (KNOWN.clips, CLIP)


def test_a_feature_that_never_varies_in_public_can_still_be_sketched():
    constant = np.zeros((50, N_FEATURES))
    known = CdfParameters.of_reference(edges_from_reference(constant, 2, "equal-width"), constant)
    assert known.clips == (1,)
    assert CdfSketch.zero(known).update(constant).n == 50


@pytest.mark.parametrize("n_bins", [1, 3, 20, 32])
def test_bins_that_are_no_small_power_of_two_are_refused(n_bins):
    edges = edges_from_reference(REFERENCE, n_bins, "skewed")
    with pytest.raises(SpaceError, match=rf"2, 4, 8 or 16 bins, not {n_bins}.*use bins = 2 or 4"):
        CdfSketch.parameters(REFERENCE, edges)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": "40,50"}, "do not fit 3 levels"),
        ({"clips": "40,0,60"}, "do not fit 3 levels"),
        ({"clips": "40,50,-6"}, "do not fit 3 levels"),
        ({"clips": f"40,50,{2**32}"}, "do not fit 3 levels"),
        ({"clips": 40}, "a centre, a clip and clips"),
        ({"clip": 0.0}, "a centre, a clip and clips"),
        ({"clip": "wide"}, "a centre, a clip and clips"),
        ({"extra": 1}, "a centre, a clip and clips"),
        ({"centre": "*"}, "damaged"),
        ({"centre": "AAAA"}, "does not fit"),
        ({"centre": ""}, "does not fit"),
    ],
)
def test_impossible_parameters_of_a_space_are_refused(changes, message):
    with pytest.raises(SpaceError, match=message):
        CdfSketch.for_space(space(**changes))


def test_a_centre_beyond_one_image_is_refused():
    damaged = replace(KNOWN, centre=KNOWN.centre * 0 + SCALE + 1).to_space()
    with pytest.raises(SpaceError, match="does not fit"):
        CdfParameters.read(damaged, EDGES)


@pytest.mark.parametrize("n_levels", [0, 4])
def test_levels_that_a_space_does_not_have_are_refused(n_levels):
    with pytest.raises(SpaceError, match=rf"{n_levels} levels are asked for, the space has 3"):
        CdfSketch.zero(KNOWN, n_levels)


GOOD = {"n_images": np.array([2]), "curve": np.array([[5, -2 * SCALE]])}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_images": np.array([-1])}, "of -1 images"),
        ({"n_images": np.array([1])}, "no images can have"),
        ({"n_images": np.array([2**41])}, "no images can have"),
        ({"n_images": np.array([1, 2])}, "expected integers \\[1\\]"),
        ({"n_images": np.array([2.0])}, "float64"),
        ({"curve": np.array([[-(2**63), 0]])}, "no images can have"),
        ({"curve": np.zeros((2, 2), dtype=int)}, "thresholds, features"),
        ({"curve": np.zeros((0, 2), dtype=int)}, "thresholds, features"),
        ({"curve": np.zeros((1, 0), dtype=int)}, "thresholds, features"),
        ({"curve": np.zeros(3, dtype=int)}, "thresholds, features"),
        ({"curve": np.zeros((1, 2))}, "float64"),
        ({"more": np.array([1])}, "cannot hold the arrays"),
    ],
)
def test_impossible_arrays_are_refused(changes, message):
    assert CdfSketch.from_arrays(GOOD).n == 2
    with pytest.raises(FingerprintError, match=message):
        CdfSketch.from_arrays({**GOOD, **changes})


def test_numbers_that_only_noise_can_make_are_accepted_with_noise_alone():
    noisy = {"n_images": np.array([-3]), "curve": np.array([[900, -900]])}
    noise = {"n_images": 100, "curve": 10**6}
    assert CdfSketch.from_arrays(noisy, noise).n == -3
    with pytest.raises(FingerprintError, match="no images can have"):
        CdfSketch.from_arrays(noisy)


@pytest.mark.parametrize("changes", [{"n_images": np.array([2**41])}, {"curve": np.array([[2**62, 0]])}])
def test_numbers_that_even_noise_cannot_make_are_refused(changes):
    with pytest.raises(FingerprintError, match="no images can have"):
        CdfSketch.from_arrays({**GOOD, **changes}, {"n_images": 1, "curve": 1})


def test_noise_in_an_array_that_is_not_there_is_refused():
    arrays_ = {f"cdf.{name}": array for name, array in GOOD.items()}
    with pytest.raises(FingerprintError, match=r"without \['curves'\] has noise there"):
        decode_sketch("cdf", arrays_, {"cdf.curves": 5})


def test_noise_of_a_sum_is_the_sum_of_the_noise():
    a, b = (CdfSketch.from_arrays(GOOD, {"n_images": 1, "curve": variance}) for variance in (4, 6))
    assert (a + b).noise == {"n_images": 2, "curve": 10}


def test_sketches_of_other_levels_are_not_added():
    with pytest.raises(SpaceMismatchError, match="of 3 and of 1 levels"):
        ZERO + CdfSketch.zero(KNOWN, 1)


def test_a_sketch_that_was_only_read_does_not_guess_its_thresholds():
    bare = CdfSketch.from_arrays(ZERO.arrays())
    for work in (lambda: bare.update(make_features(0)), lambda: bare.sensitivity(1)):
        with pytest.raises(SpaceMismatchError, match="does not know its thresholds"):
            work()


@pytest.mark.parametrize("features", [np.ones((2, 4)), np.ones(6), np.full((2, 6), np.nan)])
def test_bad_features_are_refused(features):
    with pytest.raises(FingerprintError, match="features"):
        ZERO.update(features)


def test_no_images_per_patient_bound_nothing():
    with pytest.raises(PolicyError, match="bound nothing"):
        ZERO.sensitivity(0)
