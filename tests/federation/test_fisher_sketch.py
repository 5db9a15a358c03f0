from dataclasses import replace

import numpy as np
import pytest
from factories import make_space
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from federation.errors import FingerprintError, PolicyError, SpaceError, SpaceMismatchError
from federation.sketches import FisherSketch, decode_sketch, encode_arrays
from federation.sketches.fisher_layout import LayerShape, Layout
from federation.sketches.fisher_parameters import FisherParameters, encode_centre
from tests.support.sensitivity import assert_reached, assert_within

KERNEL = FisherParameters(Layout((LayerShape("a", 2, 3), LayerShape("b", 4, 1))), granularity="kernel")
CLIPPED = replace(KERNEL, clip=0.5, scale_bits=20, head="public", head_scale=3.5)
DP = {"head": "dp", "head_scale": 1.0, "head_centre": "", "head_share": 0.5}
images = arrays(np.float32, st.tuples(st.integers(0, 6), st.just(10)), elements=st.floats(0, 1e4, width=32))


def sketch(values, parameters=KERNEL):
    return FisherSketch.zero(parameters).update(np.asarray(values))


@given(images, images)
def test_sketches_add_like_their_images(a, b):
    both = sketch(np.concatenate([a, b]))
    assert sketch(a) + sketch(b) == both
    assert sketch(a).update(b) == both
    assert both.n == len(a) + len(b)


@given(images)
def test_the_embedding_is_the_mean_over_images_within_half_a_unit(x):
    expected = x.astype(np.float64).mean(axis=0) if len(x) else np.zeros(10)
    np.testing.assert_allclose(sketch(x).embedding(), expected, atol=2.0**-41, rtol=1e-15)


def test_the_embedding_per_filter_is_the_mean_over_its_inputs():
    found = sketch([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]).filter_embedding()
    np.testing.assert_array_equal(found, [2, 5, 7, 8, 9, 10])


@given(images, images, st.integers(1, 3))
def test_one_patient_never_moves_a_clipped_sketch_further_than_declared(others, own, k):
    without = sketch(others, CLIPPED)
    assert_within(without, without.update(own[:k]), k)


def test_the_declared_sensitivity_is_nearly_reached():
    spike, flat = np.zeros((1, 10)), np.full((1, 10), 9.0)
    spike[0, 3] = 9.0
    assert_reached(FisherSketch.zero(CLIPPED), sketch(spike, CLIPPED), sketch(flat, CLIPPED), "sums")


def test_images_that_are_not_clipped_have_no_declared_sensitivity():
    with pytest.raises(PolicyError, match="no bounded sensitivity"):
        FisherSketch.zero(replace(KERNEL, head="public")).sensitivity(1)
    with pytest.raises(PolicyError, match="bound nothing"):
        FisherSketch.zero(CLIPPED).sensitivity(0)


def test_a_head_fitted_to_the_labels_has_no_declared_sensitivity():
    with pytest.raises(PolicyError, match=r"fitted to the labels.*head is 'public'"):
        FisherSketch.zero(replace(CLIPPED, head="fitted")).sensitivity(1)


def test_sums_that_would_overflow_are_refused_before_they_do():
    almost = sketch(np.full((1, 10), 2.0**22))
    with pytest.raises(FingerprintError, match="overflow"):
        almost.update(np.full((1, 10), 2.0**22))
    with pytest.raises(FingerprintError, match="overflow"):
        almost + almost


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_values_that_are_no_squares_are_refused(bad):
    values = np.ones((2, 10))
    values[1, 4] = bad
    with pytest.raises(FingerprintError, match="negative, NaN or infinite"):
        sketch(values)


def test_values_of_another_network_are_refused():
    with pytest.raises(FingerprintError, match=r"expected \[images, 10\]"):
        sketch(np.ones((2, 9)))


def test_an_estimate_of_a_whole_task_weighs_by_its_images():
    one, nine = np.full(10, 2.0), np.full(10, 12.0)
    merged = FisherSketch.of_task(one, 1, KERNEL) + FisherSketch.of_task(nine, 9, KERNEL)
    np.testing.assert_array_equal(merged.embedding(), np.full(10, 11.0))
    assert merged.n == 10


def test_sketches_of_other_parameters_do_not_add():
    with pytest.raises(SpaceMismatchError, match="cannot be added"):
        sketch(np.ones((1, 10))) + sketch(np.ones((1, 10)), replace(KERNEL, seed=1))


def test_a_sketch_is_stored_and_bound_to_its_space_again():
    space = replace(make_space(), sketches={"histogram": {}, "fisher": KERNEL.to_space()})
    made = FisherSketch.for_space(space).update(np.ones((3, 10)))
    read = decode_sketch("fisher", encode_arrays({"fisher": made}))
    assert read.bind(space) == made
    with pytest.raises(SpaceMismatchError, match="does not know its layers"):
        read.embedding()


def test_a_sketch_of_another_network_does_not_bind():
    other = replace(KERNEL, layout=Layout((LayerShape("a", 3, 1),)))
    space = replace(make_space(), sketches={"histogram": {}, "fisher": other.to_space()})
    with pytest.raises(SpaceMismatchError, match="11 numbers does not fit"):
        sketch(np.ones((1, 10))).bind(space)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sums": np.ones((2, 2), int)}, "expected integers"),
        ({"sums": np.ones(3)}, "expected integers"),
        ({"sums": np.array([1, -1])}, "negative"),
        ({"n_images": np.array([-1])}, "how many images"),
        ({"n_images": np.array([1, 2])}, "how many images"),
        ({"labels": np.array([1])}, "cannot hold"),
    ],
)
def test_arrays_that_no_images_give_are_refused(changes, complaint):
    arrays = {"sums": np.array([1, 2]), "n_images": np.array([3])}
    with pytest.raises(FingerprintError, match=complaint):
        FisherSketch.from_arrays(arrays | changes)


def test_the_usual_head_is_left_unsaid_so_that_spaces_keep_their_ids():
    assert not {"head", "head_scale"} & set(KERNEL.to_space())
    assert {"head", "head_scale"} <= set(CLIPPED.to_space())
    assert FisherParameters.read(KERNEL.to_space()) == KERNEL


def test_parameters_survive_the_space():
    private = replace(CLIPPED, head="dp", head_centre=encode_centre(np.array([0.5, -2.0])), head_share=0.25)
    for parameters in (CLIPPED, private):
        assert FisherParameters.read(parameters.to_space()) == parameters
    assert private.centre(2).tolist() == [0.5, -2.0]
    with pytest.raises(SpaceError, match="2 numbers does not fit 3 features"):
        private.centre(3)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"granularity": "layer"}, "granularity 'layer' is unknown"),
        ({"granularity": "filter"}, "one input per filter"),
        ({"estimator": "variational"}, "exists per filter"),
        ({"scale_bits": 61}, "impossible"),
        ({"clip": -1.0}, "impossible"),
        ({"head_decay": 0.0}, "impossible"),
        ({"head_decay": "big"}, "malformed"),
        ({"seed": -1}, "seed"),
        ({"layout": "a:2x0"}, "name:FILTERSxINPUTS"),
        ({"layout": ""}, "needs layers"),
        ({"layout": "a:2x2 a:2x2"}, "different names"),
        ({"layout": "a:999999x9999"}, "beyond"),
        ({"depth": 3}, "expected"),
        ({"head": "public"}, "expected"),
        ({"head": "private", "head_scale": 1.0}, "head 'private' is unknown"),
        ({"head": "public", "head_scale": 0.0}, "head_scale of 0.0 is impossible"),
        ({"head": "public", "head_scale": 1.0, "head_share": 0.5}, "expected"),
        (DP | {"head_share": 1.0}, "head_share of 1.0 leaves nothing"),
        (DP | {"head_centre": "?"}, "no Base64 of floats"),
        (DP | {"head_centre": "AAAA"}, "no Base64 of floats"),
    ],
)
def test_impossible_parameters_are_refused(changes, complaint):
    with pytest.raises(SpaceError, match=complaint):
        FisherParameters.read({**KERNEL.to_space(), **changes})
