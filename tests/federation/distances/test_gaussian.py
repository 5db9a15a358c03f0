import numpy as np
import pytest
from scipy.linalg import sqrtm

from federation import distances
from federation.sketches import MomentSketch


def fid(x, y):
    a, b = (MomentSketch.zero(x.shape[1]).update(z) for z in (x, y))
    return distances.get("fid").matrix([a], [b])[0, 0]


def diagonal_gaussian(mean, sigma):
    """A sample with exactly this mean and covariance diag(σ²): ±σ√d along every axis."""
    d = len(mean)
    return np.concatenate([np.diag(sigma), -np.diag(sigma)]) * np.sqrt(d) + mean


def test_fid_of_diagonal_gaussians_is_the_squared_shift_of_means_and_deviations():
    m1, m2 = np.array([1.0, 2, 3, 4]), np.array([1.5, 2, 1, 4])
    s1, s2 = np.array([1.0, 0.5, 2, 0.25]), np.array([0.5, 0.5, 1, 3])
    expected = ((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum()
    assert fid(diagonal_gaussian(m1, s1), diagonal_gaussian(m2, s2)) == pytest.approx(expected, rel=1e-12)


def test_fid_of_one_feature_is_that_of_mean_and_deviation():
    assert fid(np.array([[0.0], [2.0]]), np.array([[3.0], [9.0]])) == pytest.approx(25 + 4)


def test_fid_agrees_with_the_matrix_square_root():
    random = np.random.default_rng(0)
    x, y = (random.normal(size=(300, 9)) @ random.normal(size=(9, 9)) for _ in range(2))
    x, y = (np.rint(z * 2**16) / 2**16 for z in (x, y))
    a, b = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    shift = x.mean(axis=0) - y.mean(axis=0)
    expected = shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert fid(x, y) == pytest.approx(expected, rel=1e-9)


def test_fewer_images_than_features_need_no_regularisation():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(10, 40)), random.normal(size=(7, 40))
    x, y = (np.rint(z * 2**16) / 2**16 for z in (x, y))
    a, b = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    eigenvalues = np.linalg.eigvals(a @ b).real
    root = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    shift = x.mean(axis=0) - y.mean(axis=0)
    assert fid(x, y) == pytest.approx(shift @ shift + np.trace(a + b) - 2 * root, rel=1e-6)
    assert fid(x, x.copy()) == pytest.approx(0, abs=1e-10 * np.trace(a))


def test_fid_of_two_images_is_their_squared_distance():
    assert fid(np.array([[1.0, 2]]), np.array([[4.0, 6]])) == 25


def test_a_common_rotation_changes_nothing():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(50, 3)), random.gamma(1, 1, (50, 3))
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    assert fid(x @ rotation, y @ rotation) == pytest.approx(fid(x, y), rel=1e-4)
