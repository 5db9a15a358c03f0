"""Distances between classes as Gaussians."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from deploy.research.classes import ClassGaussian, class_distances, class_gaussians, squared_bures_wasserstein


def sample(seed, n=9, shift=0.0, n_features=4):
    return np.random.default_rng(seed).normal(shift, 1 + seed, (n, n_features))


@pytest.mark.parametrize("n", [3, 9, 40])
def test_it_is_the_formula_with_matrix_roots(n):
    x, y = sample(0, n), sample(1, n + 2, shift=1.0)
    a, b = np.cov(x.T), np.cov(y.T)
    root = sqrtm(a).real
    cross = np.trace(sqrtm(root @ b @ root).real)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * cross
    assert squared_bures_wasserstein(ClassGaussian.of(x), ClassGaussian.of(y)) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_class_is_nowhere_from_itself_and_a_shift_costs_its_square():
    x = sample(0, n_features=50)
    assert squared_bures_wasserstein(ClassGaussian.of(x), ClassGaussian.of(x)) == pytest.approx(0, abs=1e-10)
    assert squared_bures_wasserstein(ClassGaussian.of(x), ClassGaussian.of(x + 2.0)) == pytest.approx(200.0)


def test_gaussians_with_commuting_covariances_differ_by_their_standard_deviations():
    x = np.array([[1.0, 2.0], [-1.0, -2.0], [1.0, -2.0], [-1.0, 2.0]])
    found = squared_bures_wasserstein(ClassGaussian.of(x), ClassGaussian.of(3 * x))
    assert found == pytest.approx(4 * (4 / 3 + 16 / 3))


def test_all_pairs_of_classes_in_order_of_their_labels():
    x = np.concatenate([sample(0, 5), sample(1, 6, shift=5.0)])
    gaussians = class_gaussians(x, np.array([7] * 5 + [2] * 6))
    found = class_distances(gaussians, gaussians)
    assert gaussians[1].mean == pytest.approx(x[:5].mean(axis=0))
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-10)
    assert found[0, 1] == pytest.approx(found[1, 0])
    assert found[0, 1] > 10
