"""The claims of docs/privacy-proofs.md, by summing over outputs, and the page itself."""

import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from federation.privacy.accounting import delta_of, rho_of, variance_for

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/privacy-proofs.md").read_text()
ORDERS = [1.01, 1.5, 2.0, 3.7, 8.0, 32.0]
ROUNDING = 1 + 1e-9


def noise(variance, shift=0, reach=2000):
    """log P(k) on −reach … reach of noise around a shift."""
    k = np.arange(-reach, reach + 1) - float(shift)
    weights = -(k**2) / (2 * variance)
    return weights - logsumexp(weights)


def divergence(p, q, order):
    """The Rényi divergence of two distributions on the same outputs, given as logarithms."""
    return logsumexp(order * p + (1 - order) * q) / (order - 1)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("variance", "shift"), [(1, 1), (1, 2), (7, 1), (7, -3), (100, 12)])
def test_shifted_noise_diverges_by_at_most_a_rho(variance, shift, order):
    found = divergence(noise(variance, shift), noise(variance), order)
    bound = order * float(rho_of(shift**2, variance))
    assert found <= bound * ROUNDING
    if float(order * shift).is_integer():
        assert found == pytest.approx(bound, rel=1e-9)  # the bound is the best there is


@pytest.mark.parametrize("eps", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(("variance", "shift"), [(1, 1), (20, 1), (20, -4), (400, 12)])
def test_the_exact_delta_of_discrete_noise_is_within_the_stated_one(variance, shift, eps):
    p, q = np.exp(noise(variance, shift)), np.exp(noise(variance))
    exact = np.maximum(0, p - math.exp(eps) * q).sum()
    assert exact <= delta_of(rho_of(shift**2, variance), eps)


def two_releases(first_shift, second_shift, second_variances):
    """log P of both outputs: the variance of the second release is chosen by the sign of the first output."""
    first = noise(4, first_shift, reach=60)
    low, high = (noise(variance, second_shift, reach=60) for variance in second_variances)
    negative = np.arange(-60, 61) < 0
    return first[:, None] + np.where(negative[:, None], low, high)


@pytest.mark.parametrize("order", ORDERS[:4])
def test_noise_chosen_by_earlier_outputs_keeps_a_fixed_budget(order):
    budget = rho_of(1, 4) + rho_of(1, 5)
    left = budget - rho_of(1, 4)
    variances = (variance_for(1, left), variance_for(1, left / 3))
    assert divergence(two_releases(1, 1, variances), two_releases(0, 0, variances), order) <= order * budget
    spent_at_most = order * float(budget) * ROUNDING
    for sign in (-1, 1):
        one, other = two_releases(sign, 1, variances), two_releases(0, 0, variances)
        assert divergence(one, other, order) <= spent_at_most


@pytest.mark.parametrize("order", ORDERS[:4])
def test_the_other_cohorts_releases_cost_a_patient_nothing(order):
    variances = (5, 9)
    absent = two_releases(0, 0, variances)
    of_the_first, of_the_second = two_releases(1, 0, variances), two_releases(0, 1, variances)
    largest = max(rho_of(1, 4), rho_of(1, 5), rho_of(1, 9))
    for present in (of_the_first, of_the_second):
        assert divergence(present, absent, order) <= order * float(largest) * ROUNDING
    assert divergence(of_the_first, absent, order) == pytest.approx(
        divergence(noise(4, 1), noise(4), order), rel=1e-9
    )


@given(st.data(), st.integers(1, 8), st.integers(1, 5))
def test_a_weighted_patient_adds_the_same_total_whatever_the_number_of_images(data, most, n_features):
    weight = math.lcm(*range(1, most + 1))
    images = data.draw(st.integers(1, most))
    assert weight % images == 0
    bins = data.draw(st.lists(st.integers(0, 3), min_size=n_features * images, max_size=n_features * images))
    added = np.zeros((n_features, 4), dtype=np.int64)
    for i, chosen in enumerate(bins):
        added[i % n_features, chosen] += weight // images
    assert (added.sum(axis=1) == weight).all()
    assert (added**2).sum() <= n_features * weight**2


def test_weights_do_not_change_the_noise_in_units_of_a_patient():
    rho = Fraction(1, 40)
    plain, weighted = variance_for(512, rho), variance_for(512 * 12**2, rho)
    assert weighted == pytest.approx(plain * 12**2, abs=12**2)


def test_every_test_that_the_page_names_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text())
    }
    assert named
    assert named <= written


def test_every_section_that_a_docstring_points_to_exists():
    headings = re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    sections = {heading.lower().replace(" ", "-") for heading in headings}
    for file in (ROOT / "federation").rglob("*.py"):
        assert set(re.findall(r"privacy-proofs\.md#([\w-]+)", file.read_text())) <= sections, file.name
