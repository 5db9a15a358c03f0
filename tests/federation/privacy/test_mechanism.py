from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from factories import make_features, make_space
from hypothesis import given, settings
from hypothesis import strategies as st
from randomness import stream

from federation.errors import BudgetError, PolicyError
from federation.privacy.accounting import rho_of, variance_for
from federation.privacy.mechanism import add_noise
from federation.sketches import CdfSketch, HistogramSketch, encode_arrays, kind

REFERENCE = make_features(0, 300)
EDGES = make_space(4).edges
SPACE = replace(
    make_space(4),
    sketches={name: kind(name).parameters(REFERENCE, EDGES) for name in ("cdf", "histogram")},
)
FEATURES = make_features(1, 150)
SKETCHES = {name: kind(name).for_space(SPACE).update(FEATURES) for name in SPACE.sketches}
RHO = Fraction(1, 50)
budgets = st.fractions(min_value=Fraction(1, 10**6), max_value=Fraction(100), max_denominator=10**7)


@settings(deadline=None, max_examples=20)
@given(budgets, st.integers(1, 60))
def test_what_is_spent_is_exactly_what_the_variances_cost_and_within_the_budget(rho, weight):
    release = add_noise(SKETCHES, rho, weight, stream(0))
    bounds = {
        f"{name}.{array}": bound.l2_squared
        for name, sketch in SKETCHES.items()
        for array, bound in sketch.sensitivity(weight).items()
    }
    assert set(bounds) == set(release.noise) == set(encode_arrays(SKETCHES))
    assert release.rho == sum(rho_of(bounds[name], release.noise[name]) for name in bounds) <= rho


def test_kinds_share_evenly_and_arrays_as_their_kind_says():
    release = add_noise(SKETCHES, RHO, randomness=stream(0))
    cdf, counts = SKETCHES["cdf"].sensitivity(1), SKETCHES["histogram"].sensitivity(1)["counts"]
    assert release.noise == {
        "histogram.counts": variance_for(counts.l2_squared, RHO / 2),
        "cdf.n_images": variance_for(1, RHO / 10),
        "cdf.curve": variance_for(cdf["curve"].l2_squared, RHO * Fraction(2, 5)),
    }


@pytest.mark.parametrize("sketch", SKETCHES.values(), ids=SKETCHES)
def test_shares_sum_to_one(sketch):
    assert sum(sketch.shares.values()) == 1


def test_noise_grows_with_the_weight_of_a_patient():
    plain, heavy = (add_noise(SKETCHES, RHO, weight, stream(0)) for weight in (1, 12))
    for name, variance in plain.noise.items():
        assert heavy.noise[name] == pytest.approx(144 * variance, rel=0.01)


def test_released_numbers_are_whole_and_carry_their_noise():
    release = add_noise(SKETCHES, RHO, randomness=stream(0))
    for name, array in encode_arrays(release.sketches).items():
        assert array.dtype == np.int64
        kind_name, array_name = name.split(".")
        assert release.sketches[kind_name].noise[array_name] == release.noise[name]


def test_every_whole_number_near_the_exact_one_can_be_released():
    tiny = {"histogram": HistogramSketch(np.array([[5]]))}
    draws = [add_noise(tiny, Fraction(1, 4), randomness=stream(i)).sketches["histogram"] for i in range(300)]
    assert {int(draw.counts[0, 0]) for draw in draws} >= set(range(2, 9))


def test_noise_has_the_stated_variance_around_the_exact_numbers():
    release = add_noise(SKETCHES, RHO, randomness=stream(3))
    z = (release.sketches["cdf"].curve - SKETCHES["cdf"].curve) / np.sqrt(release.noise["cdf.curve"])
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=4 / np.sqrt(2 * z.size))


def test_the_default_randomness_never_repeats():
    assert add_noise(SKETCHES, RHO).sketches["cdf"] != add_noise(SKETCHES, RHO).sketches["cdf"]


def test_the_exact_sketches_stay_as_they_are():
    before = {name: array.copy() for name, array in encode_arrays(SKETCHES).items()}
    add_noise(SKETCHES, RHO)
    for name, array in encode_arrays(SKETCHES).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("rho", [Fraction(0), Fraction(-1, 10)])
def test_a_release_that_may_spend_nothing_is_refused(rho):
    with pytest.raises(BudgetError, match="is impossible"):
        add_noise(SKETCHES, rho)


@pytest.mark.parametrize("weight", [0, -1])
def test_a_weight_that_bounds_nothing_is_refused(weight):
    with pytest.raises(PolicyError, match="bound nothing"):
        add_noise(SKETCHES, RHO, weight)


def test_a_sketch_without_a_bound_is_refused():
    unbounded = HistogramSketch.from_features(FEATURES, EDGES, exact_means=True)
    with pytest.raises(PolicyError, match="no bounded sensitivity"):
        add_noise({"histogram": unbounded}, RHO)


def test_no_sketches_are_nothing_to_release():
    with pytest.raises(PolicyError, match="no sketch"):
        add_noise({}, RHO)


def test_fewer_levels_leave_less_noise():
    one, all_ = (CdfSketch.zero(SKETCHES["cdf"].known, n).update(FEATURES) for n in (1, 2))
    noise = [add_noise({"cdf": s}, RHO, randomness=stream(0)).noise["cdf.curve"] for s in (one, all_)]
    assert noise[0] < noise[1]


def test_rows_of_a_noisy_histogram_balance_without_clipping():
    sketch = add_noise(SKETCHES, RHO, randomness=stream(5)).sketches["histogram"]
    assert len(set(sketch.counts.sum(axis=1))) > 1
    assert set(sketch.balanced.sum(axis=1)) == {sketch.n_bins * sketch.n}
    within = sketch.balanced / sketch.n_bins - sketch.counts
    np.testing.assert_allclose(within, np.repeat(within[:, :1], sketch.n_bins, axis=1))
    np.testing.assert_allclose(sketch.frequencies().sum(axis=1), 1)
    assert sketch.n == pytest.approx(150, abs=6 * np.sqrt(release_variance(sketch)))


def release_variance(sketch):
    return sketch.noise["counts"] * sketch.n_bins / sketch.n_features


def test_exact_counts_are_balanced_already():
    assert SKETCHES["histogram"].balanced is SKETCHES["histogram"].counts


def test_what_was_spent_before_is_taken_from_one_kind_and_counted():
    kind, others = min(SKETCHES), sorted(SKETCHES)[1:]
    before = RHO / len(SKETCHES) / 4
    plain = add_noise(SKETCHES, RHO, randomness=stream(0))
    release = add_noise(SKETCHES, RHO, randomness=stream(0), spent={kind: before})
    for name, variance in release.noise.items():
        factor = Fraction(4, 3) if name.startswith(f"{kind}.") else 1
        assert variance == pytest.approx(float(factor * plain.noise[name]), rel=1e-2)
    assert others
    assert before + RHO / 2 < release.rho <= RHO


def test_a_kind_with_nothing_left_is_not_released():
    part = RHO / len(SKETCHES)
    with pytest.raises(BudgetError, match="spent before there was a sketch"):
        add_noise(SKETCHES, RHO, spent={min(SKETCHES): part})
