import numpy as np
import pytest

from federation.errors import SpaceError
from federation.kernels import check_kernel, kernel_values, median_squared_distance, squared_distances


def test_at_the_bandwidth_the_gaussian_is_exp_minus_half_and_the_cauchy_one_half():
    assert kernel_values(np.array(7.0), "gaussian", 7.0) == pytest.approx(np.exp(-0.5))
    assert kernel_values(np.array(7.0), "cauchy", 7.0) == 0.5


def test_squared_distances_agree_with_the_definition():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 4)), random.normal(size=(3, 4))
    expected = ((x[:, None] - y) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(x, y), expected, atol=1e-12)


def test_the_median_heuristic_is_the_median_over_pairs_to_six_digits():
    assert median_squared_distance(np.array([[0.0], [1.0], [3.0]])) == 4  # of 1, 4, 9
    assert median_squared_distance(np.array([[0.0], [1.23456789]])) == 1.52416


def test_where_the_features_lie_does_not_matter():
    x = np.random.default_rng(0).normal(size=(50, 4))
    assert median_squared_distance(x + 1e6) == median_squared_distance(x)


@pytest.mark.parametrize("features", [np.zeros((1, 3)), np.zeros((9, 3)), np.full((9, 3), np.nan)])
def test_images_without_a_distance_give_no_bandwidth(features):
    with pytest.raises(SpaceError, match="public images"):
        median_squared_distance(features)


@pytest.mark.parametrize(
    ("kernel", "bandwidth", "message"),
    [
        ("laplace", 1.0, "unknown kernel 'laplace'"),
        ("cauchy", 0.0, "no positive number"),
        ("gaussian", -1.0, "no positive number"),
        ("gaussian", np.inf, "no positive number"),
        ("gaussian", np.nan, "no positive number"),
    ],
)
def test_impossible_kernels_are_refused(kernel, bandwidth, message):
    with pytest.raises(SpaceError, match=message):
        check_kernel(kernel, bandwidth)
