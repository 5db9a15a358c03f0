import hashlib

import numpy as np
import pytest
from scipy.integrate import quad

from federation.errors import FingerprintError, SpaceError
from federation.kernels import KERNELS, kernel_values, squared_distances
from federation.sketches import random_features
from federation.sketches.random_features import AMPLITUDE, RandomFeatures


def inner_products(draw, x):
    """Σ_r φ_r(x_i) φ_r(x_j)."""
    phi = np.array([draw.sums(row[None]) for row in x]) / (AMPLITUDE * np.sqrt(draw.n_random / 2))
    return phi @ phi.T


@pytest.mark.parametrize("r", [0.1, 1.0, 5.0])
def test_the_cauchy_kernel_is_the_stated_mixture_of_gaussians(r):
    mixture = quad(lambda s: np.exp(-s * r**2 / 2.5) * np.exp(-s), 0, np.inf)[0]
    assert mixture == pytest.approx(kernel_values(np.array(r**2), "cauchy", 2.5), abs=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bandwidth", [1e-8, 3.0, 1e8])
def test_inner_products_are_close_to_the_kernel_at_any_scale(kernel, bandwidth):
    x = np.random.default_rng(0).normal(size=(12, 5)) * np.sqrt(bandwidth / 5)
    expected = kernel_values(squared_distances(x, x), kernel, bandwidth)
    found = inner_products(RandomFeatures(5, kernel, bandwidth, 2**14), x)
    # The standard error of 2^13 frequencies is at most 1/√(2 · 2^13) = 0.008.
    np.testing.assert_allclose(found, expected, atol=4 * 0.008)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_image_has_norm_one(kernel):
    x = np.random.default_rng(0).normal(size=(20, 5)) * 10
    found = np.diag(inner_products(RandomFeatures(5, kernel, 1.0, 64), x))
    np.testing.assert_allclose(found, 1, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_error_falls_with_the_root_of_the_number_of_random_features(kernel):
    x = np.random.default_rng(0).normal(size=(30, 8))
    expected = kernel_values(squared_distances(x, x), kernel, 16.0)

    def error(n_random):
        found = [inner_products(RandomFeatures(8, kernel, 16.0, n_random, seed), x) for seed in range(8)]
        return np.sqrt(np.mean((np.array(found) - expected) ** 2))

    assert error(64) / error(1024) == pytest.approx(4, rel=0.35)


def test_pairs_have_the_variance_of_the_paper():
    # Var = (1 + k(2δ) − 2 k(δ)²) / D per inner product (Sutherland & Schneider 2015, equation 4).
    x, bandwidth = np.array([[0.0], [1.0]]), 1.0
    found = [inner_products(RandomFeatures(1, "gaussian", bandwidth, 16, s), x)[0, 1] for s in range(3000)]
    k = kernel_values(np.array([1.0, 4.0]), "gaussian", bandwidth)
    assert np.mean(found) == pytest.approx(k[0], abs=0.01)
    assert np.var(found) == pytest.approx((1 + k[1] - 2 * k[0] ** 2) / 16, rel=0.1)


def test_fewer_random_features_are_the_first_of_more():
    x = np.random.default_rng(0).normal(size=(7, 3))
    few, many = (RandomFeatures(3, "cauchy", 2.0, n).sums(x).reshape(2, -1) for n in (10, 64))
    np.testing.assert_array_equal(few, many[:, :5])


def test_seeds_and_kernels_give_other_frequencies():
    x = np.random.default_rng(0).normal(size=(7, 3))
    draws = [("gaussian", 0), ("gaussian", 1), ("cauchy", 0)]
    sums = [RandomFeatures(3, kernel, 2.0, 16, seed).sums(x) for kernel, seed in draws]
    assert len({s.tobytes() for s in sums}) == 3


@pytest.mark.parametrize(
    ("kernel", "digest"),
    [("gaussian", "0b7100044e99b73a"), ("cauchy", "b7218b05a64a1ec8")],
)
def test_the_integers_are_the_same_on_every_machine(kernel, digest):
    x = (np.arange(40 * 64).reshape(40, 64) * 7919 % 1009).astype(np.float32) / 512
    sums = RandomFeatures(64, kernel, 12.5, 256, seed=3).sums(x)
    assert hashlib.sha256(sums.astype("<i8").tobytes()).hexdigest()[:16] == digest


def test_no_cosine_of_the_table_is_near_a_rounding_boundary():
    turns = (np.arange(2**16) + 0.5) / 2**16
    for function in (np.cos, np.sin):
        for amplitude in (AMPLITUDE, 64):
            fraction = np.abs(amplitude * function(2 * np.pi * turns)) % 1
            assert np.abs(fraction - 0.5).min() > 1e-7


def test_products_are_exact_for_the_largest_features():
    d = random_features.MAX_FEATURES
    draw = RandomFeatures(d, "gaussian", 1.0, 2)
    normals = np.abs(draw._normals).max()
    assert normals < 6.5 * 2**12
    assert d * 2.0**24 * 6.5 * 2**12 < 2**53


def test_features_that_are_very_far_count_as_256_root_bandwidths():
    draw = RandomFeatures(2, "gaussian", 4.0, 16)
    np.testing.assert_array_equal(
        draw.sums(np.array([[512.0, -512.0]])), draw.sums(np.array([[1e300, -1.7e308]]))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_features": 0}, "0 features"),
        ({"n_features": 8193}, "8193 features"),
        ({"n_random": 0}, "0 random features"),
        ({"n_random": 7}, "7 random features"),
        ({"n_random": 2**17}, "131072 random features"),
        ({"seed": -1}, "seed -1"),
        ({"kernel": "laplace"}, "unknown kernel"),
        ({"bandwidth": 0.0}, "no positive number"),
    ],
)
def test_impossible_parameters_are_refused(changes, message):
    good = {"n_features": 3, "kernel": "cauchy", "bandwidth": 1.0, "n_random": 8}
    with pytest.raises(SpaceError, match=message):
        RandomFeatures(**{**good, **changes})


@pytest.mark.parametrize("features", [np.ones((2, 4)), np.ones(3), np.full((2, 3), np.inf)])
def test_bad_features_are_refused(features):
    with pytest.raises(FingerprintError, match="features"):
        RandomFeatures(3, "cauchy", 1.0, 8).sums(features)
