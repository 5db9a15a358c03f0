from dataclasses import replace

import numpy as np
import pytest
from factories import make_features, make_space

from federation.errors import SpaceError, SpaceMismatchError
from federation.space import Space, edges_from_reference, equal_width_edges


def test_the_id_names_content_and_ignores_the_label():
    space = make_space()
    assert replace(space, name="another label").space_id == space.space_id
    assert make_space().space_id == space.space_id


@pytest.mark.parametrize(
    "other",
    [
        make_space(40),
        make_space(image_size=128),
        make_space(seed=1),
        replace(make_space(), reference="other pictures"),
        replace(make_space(), binning="equal-mass"),
    ],
)
def test_any_difference_that_matters_gives_another_id(other):
    assert other.space_id != make_space().space_id
    assert other != make_space()


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (make_space(40), "number of bins is 20 here and 40 there"),
        (make_space(image_size=128), "transform image_size is 224 here and 128 there"),
        (make_space(seed=1), "bin edges differ in 6 of 6 features"),
    ],
)
def test_refusing_to_mix_says_how_the_spaces_differ(other, difference):
    with pytest.raises(SpaceMismatchError, match=difference):
        make_space().require_same(other)


def test_a_space_file_round_trips():
    space = make_space(100)
    read = Space.from_bytes(space.to_bytes())
    assert read == space
    assert (read.edges == space.edges).all()
    assert read.header() == space.header()


def test_every_flipped_bit_of_a_space_file_is_noticed():
    data = replace(make_space(4), name="").to_bytes()  # the label alone is not part of the identity
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1 << (position % 8)
        with pytest.raises(SpaceError):
            Space.from_bytes(bytes(altered))


@pytest.mark.parametrize("binning", ["equal-width", "equal-mass"])
def test_a_hundred_bins_are_exactly_every_tenth_edge_of_a_thousand(binning):
    features = make_features(3, 500)
    fine = edges_from_reference(features, 1000, binning)
    coarse = edges_from_reference(features, 100, binning)
    np.testing.assert_array_equal(fine[:, ::10], coarse)


def test_equal_width_edges_lie_between_the_published_quantiles():
    features = np.linspace(0, 100, 1001)[:, None]
    edges = edges_from_reference(features, 9, "equal-width")
    np.testing.assert_allclose(edges[0], np.linspace(5, 95, 10))


def test_equal_mass_bins_hold_the_same_share_of_the_reference():
    features = np.random.default_rng(0).exponential(size=(4000, 3))
    edges = edges_from_reference(features, 8, "equal-mass")
    for feature, own in zip(features.T, edges, strict=True):
        np.testing.assert_allclose(np.histogram(feature, own)[0], 500, atol=1)


@pytest.mark.parametrize("binning", ["equal-width", "equal-mass"])
def test_a_constant_feature_gets_edges_one_unit_to_either_side(binning):
    edges = edges_from_reference(np.full((50, 1), 3.0), 4, binning)
    np.testing.assert_array_equal(edges[0], [2, 2.5, 3, 3.5, 4])


@pytest.mark.parametrize(
    "edges",
    [
        np.zeros((6, 1)),
        np.zeros((5, 3)),
        np.full((6, 3), np.nan),
        np.tile([0.0, np.inf], (6, 1)),
        np.tile([1.0, 0.0], (6, 1)),
        np.tile([0.0, 0.0], (6, 1)),
    ],
)
def test_impossible_edges_are_refused(edges):
    with pytest.raises(SpaceError):
        replace(make_space(), edges=edges)


def test_bins_that_cannot_be_merged_evenly_are_refused():
    with pytest.raises(SpaceError, match="20 bins cannot be merged in groups of 3"):
        make_space(20).coarsen(3)


def test_edges_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="read-only"):
        make_space().edges[0, 0] = 7


def test_edges_of_zero_width_ranges_are_widened_and_others_kept():
    edges = equal_width_edges(np.array([0.0, 1.0]), np.array([0.0, 2.0]), 2)
    np.testing.assert_array_equal(edges, [[-1, 0, 1], [1, 1.5, 2]])


def test_the_sign_of_zero_does_not_change_the_id():
    space = make_space()
    edges = space.edges.copy()
    edges[:, 0] = 0.0
    negative = edges.copy()
    negative[:, 0] = -0.0
    assert replace(space, edges=edges) == replace(space, edges=negative)


@pytest.mark.parametrize("features", [np.zeros((0, 3)), np.zeros(4), np.full((5, 2), np.nan)])
def test_a_reference_that_cannot_place_edges_is_refused(features):
    with pytest.raises(SpaceError, match="cannot place 10 bins"):
        edges_from_reference(features, 10, "equal-width")


def test_less_than_one_bin_is_refused():
    with pytest.raises(SpaceError, match="cannot place 0 bins"):
        edges_from_reference(make_features(1), 0, "equal-mass")


def test_the_sketches_of_a_space_are_part_of_its_identity():
    plain = make_space()
    richer = replace(plain, sketches={"histogram": {}, "other": {"n": 3, "kernel": "gaussian"}})
    assert richer.space_id != plain.space_id
    assert Space.from_bytes(richer.to_bytes()) == richer
    with pytest.raises(SpaceMismatchError, match="sketches is"):
        plain.require_same(richer)


def test_a_space_without_sketches_is_refused():
    with pytest.raises(SpaceError, match="compares nothing"):
        replace(make_space(), sketches={})
