"""Real numbers survive a sum of integers to within half a step each."""

import math
from fractions import Fraction

import numpy as np
import pytest
from cohorts import Cohort, names, terms_of
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import TermsError, VectorError
from federation.secagg.fixed_point import FixedPoint

numbers = st.floats(-1e6, 1e6)
points = st.builds(FixedPoint, st.integers(0, 30), st.floats(1, 2**20))


@given(points, st.lists(numbers, max_size=10))
def test_a_number_errs_by_half_a_step_at_most_besides_clipping(point, values):
    decoded = point.decode(point.encode(values))
    clipped = np.clip(values, -point.clip, point.clip)
    assert (np.abs(decoded - clipped) <= 2.0 ** -(point.scale_bits + 1)).all()


@given(points, st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=6))
def test_a_decoded_sum_is_the_exact_sum_of_the_decoded(point, rows):
    total = sum(point.encode(row) for row in rows)
    exact = [sum(Fraction(x) for x in column) for column in zip(*map(decoded(point), rows), strict=True)]
    assert [Fraction(x) for x in point.decode(total).tolist()] == exact


def decoded(point):
    return lambda row: point.decode(point.encode(row)).tolist()


@given(points, st.lists(numbers, min_size=1, max_size=10))
def test_no_encoded_number_is_beyond_the_bound_nor_is_the_limit_itself(point, values):
    assert np.abs(point.encode(values)).max() <= point.bound
    assert point.encode([1e300, -1e300]).tolist() == [point.bound, -point.bound]


def test_ties_go_to_the_even_multiple():
    assert FixedPoint(0, 10).encode([0.5, 1.5, 2.5, -0.5, -1.5]).tolist() == [0, 2, 2, 0, -2]


def test_the_shape_stays_and_float32_is_as_good_as_float64():
    values = np.array([[0.1, -0.2], [3.0, 4.0]], dtype=np.float32)
    assert FixedPoint(16, 8).encode(values).tolist() == FixedPoint(16, 8).encode(values.tolist()).tolist()
    assert FixedPoint(16, 8).decode(FixedPoint(16, 8).encode(values)).shape == (2, 2)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(VectorError, match="not finite"):
        FixedPoint(16, 8).encode([0.0, value])


@pytest.mark.parametrize(
    ("scale_bits", "clip"),
    [(-1, 1.0), (54, 1.0), (16, 0.0), (16, -1.0), (16, math.inf), (16, math.nan), (53, 1.5), (4, 2.0**-6)],
)
def test_impossible_numbers_are_refused(scale_bits, clip):
    with pytest.raises(TermsError, match="fixed-point numbers"):
        FixedPoint(scale_bits, clip)


def test_only_integers_are_decoded():
    with pytest.raises(VectorError, match="float64, expected int64"):
        FixedPoint(16, 8).decode(np.zeros(3))


def test_a_round_sums_real_numbers():
    point, sites = FixedPoint(20, 4.0), names(5)
    rows = {site: np.random.default_rng(k).normal(size=7) for k, site in enumerate(sites)}
    values = {site: point.encode(row) for site, row in rows.items()}
    opened = Cohort(terms_of(sites, length=7, bound=point.bound), values).unmask()
    np.testing.assert_allclose(point.decode(opened.total), sum(rows.values()), atol=5 * 2.0**-21)
