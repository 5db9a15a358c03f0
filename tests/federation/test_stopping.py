"""The stopping rule on data whose variance is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import ConfigError
from federation.sampling import SamplingPlan
from federation.sketches import HistogramSketch
from federation.stopping import CHECKPOINT, FIRST_CHECKPOINT, expected_images, is_enough, sampling_error

COUNTS = st.lists(st.integers(0, 400), min_size=2, max_size=8).filter(lambda row: sum(row) > 1)


def sketch(*rows):
    return HistogramSketch(np.array(rows))


def halves(n):
    """One feature, two bins, half of the images in each: C = 1/2 and 1, so the mean variance is 1/8."""
    return sketch([n - n // 2, n // 2])


def test_the_error_of_two_equal_bins_is_known_in_closed_form():
    assert sampling_error(halves(200)) == pytest.approx(math.sqrt(0.125 / 199), rel=1e-15)


def test_the_error_is_the_mean_square_over_features():
    counts = [[100, 100], [200, 0]]
    assert sampling_error(sketch(*counts)) == pytest.approx(math.sqrt(0.125 / 199 / 2), rel=1e-15)


def test_a_constant_feature_is_known_at_once_and_one_image_tells_nothing():
    assert sampling_error(sketch([0, 5, 0])) == 0.0
    assert sampling_error(sketch([0, 1, 0])) == math.inf


def test_ten_million_images_do_not_overflow():
    n = 10**7
    assert sampling_error(sketch(*[[n // 2, n // 2]] * 1000)) == pytest.approx(math.sqrt(0.125 / (n - 1)))


def test_its_square_is_what_sampling_adds_to_the_cramer_distance():
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    draws = np.random.default_rng(0).multinomial(50, truth, size=4000)
    added = ((draws / 50 - truth).cumsum(axis=1) ** 2).sum(axis=1).mean()
    estimated = np.mean([4 * sampling_error(sketch(draw)) ** 2 for draw in draws])
    assert estimated == pytest.approx(added, rel=0.05)


@given(COUNTS)
def test_the_error_does_not_depend_on_the_direction_of_the_bins_and_is_bounded(row):
    assert sampling_error(sketch(row)) == sampling_error(sketch(row[::-1]))
    assert sampling_error(sketch(row)) <= 0.5 / math.sqrt(sum(row) - 1)


@pytest.mark.parametrize(
    ("tolerance", "expected"), [(0.4, 128), (0.02, 320), (0.015, 576), (0.01, 1280), (0.005, 5056)]
)
def test_sampling_stops_at_the_first_checkpoint_that_is_precise_enough(tolerance, expected):
    checkpoints = range(CHECKPOINT, 10_000, CHECKPOINT)
    assert next(n for n in checkpoints if is_enough(halves(n), tolerance)) == expected


def test_it_never_stops_before_the_first_checkpoint():
    assert not is_enough(sketch([FIRST_CHECKPOINT - 1, 0]), 0.4)
    assert is_enough(sketch([FIRST_CHECKPOINT, 0]), 0.4)


def test_the_foreseen_number_of_images_is_the_one_it_stops_at():
    plan = SamplingPlan(10_000, tolerance=0.015)
    assert expected_images(plan, sketch([0, 0]), 10_000) == 1152  # the worst case, 1 + 0.25 / 0.015²
    assert expected_images(plan, halves(128), 10_000) == 576
    assert expected_images(plan, halves(512), 10_000) == 576
    assert expected_images(plan, halves(128), 400) == 400
    assert expected_images(SamplingPlan(1000), halves(128), 1000) == 1000


@pytest.mark.parametrize("tolerance", [0.0, 1e-300, -0.1, 0.5, math.nan, math.inf])
def test_an_impossible_tolerance_is_refused(tolerance):
    with pytest.raises(ConfigError, match=r"sampling tolerance is .* at least 0\.0001 and below 0\.5"):
        SamplingPlan(None, tolerance=tolerance)


def test_draws_with_replacement_keep_their_published_number():
    with pytest.raises(ConfigError, match="needs a fixed number of draws"):
        SamplingPlan(10_000, replacement=True, tolerance=0.01)
