"""Exact transport per feature."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from deploy.research.one_dimensional import wasserstein_1d


@pytest.mark.parametrize("shift", [-2.5, 0.0, 0.125, 40.0])
def test_a_shift_of_every_value_costs_its_size(shift):
    x = np.random.default_rng(0).normal(size=(30, 4))
    assert wasserstein_1d(x, x + shift) == pytest.approx(abs(shift), abs=1e-12)


@given(n=st.integers(1, 12), m=st.integers(1, 12), seed=st.integers(0, 99))
def test_it_is_scipys_distance_feature_by_feature_for_any_numbers_of_images(n, m, seed):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(n, 3)), random.exponential(size=(m, 3))
    expected = np.mean([wasserstein_distance(a, b) for a, b in zip(x.T, y.T, strict=True)])
    assert wasserstein_1d(x, y) == pytest.approx(expected, abs=1e-12)


def test_it_is_the_mean_over_features_and_symmetric():
    x, y = np.array([[0.0, 0.0]]), np.array([[3.0, 1.0], [5.0, 1.0]])
    assert wasserstein_1d(x, y) == wasserstein_1d(y, x) == pytest.approx((4 + 1) / 2)


def test_counting_every_image_twice_changes_nothing():
    x, y = (np.random.default_rng(seed).normal(size=(7, 3)) for seed in (0, 1))
    assert wasserstein_1d(np.repeat(x, 2, axis=0), y) == pytest.approx(wasserstein_1d(x, y), abs=1e-12)
