from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import BudgetError
from federation.sketches.fisher_layout import LayerShape, Layout
from federation.sketches.fisher_parameters import FisherParameters, encode_centre
from site_agent.fisher import private_head
from site_agent.fisher.private_head import LENGTH, Examples, PublicScale, fit_exact_head, fit_private_head
from site_agent.fisher.task import head_images, task_head
from site_agent.fisher.terms import HeadTerms

SCALE = PublicScale(np.full(8, 5.0), 4.0)
RHO = Fraction(1, 40)
PARAMETERS = FisherParameters(
    Layout((LayerShape("a", 4, 1),)), head="dp", head_scale=4.0, head_centre=encode_centre(SCALE.centre)
)


def blobs(n=600, n_classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, n_classes, n)
    centres = np.random.default_rng(7).normal(0, 2, (n_classes, 8))
    return (centres[labels] + random.normal(0, 1, (n, 8)) + 5).astype(np.float32), labels


def fit(x, y, rho=RHO, **options):
    return fit_private_head(examples(x, y), SCALE, rho, **options)


def examples(x, y):
    return Examples(x, y, np.ones(len(x), np.int64), 3)


def test_a_private_head_tells_classes_apart_and_states_its_price():
    found = fit(*blobs())
    x, y = blobs(seed=1)
    assert (found.head.log_probabilities(x).argmax(axis=1) == y).mean() > 0.85
    assert Fraction(99, 100) * RHO < found.rho <= RHO


def test_more_steps_share_the_same_budget():
    assert fit(*blobs(60), steps=9).rho <= RHO


@given(st.integers(0, 50), st.lists(st.integers(1, 12), min_size=1, max_size=4), st.floats(0, 50))
def test_one_patient_moves_no_step_further_than_is_paid_for(seed, parts, far):
    random = np.random.default_rng(seed)
    x = SCALE.standardised((random.normal(0, 1 + far, (6 + len(parts), 8)) + 5).astype(np.float32))
    y, counts = random.integers(0, 3, len(x)), np.array(parts + [2] * 6)
    weights = random.normal(0, 1 + far, (3, 8))
    both, others = (
        private_head._gradient_sum(x[part], y[part], counts[part], weights)
        for part in (slice(None), slice(len(parts), None))
    )
    assert ((both - others) ** 2).sum() <= private_head._L2_SQUARED * sum(parts) ** 2


def test_the_bound_of_a_step_is_nearly_reached_by_an_image_that_is_certainly_wrong():
    x, weights = np.eye(1, 8), np.zeros((3, 8))
    weights[1, 0] = 50.0
    step = private_head._gradient_sum(x, np.array([0]), np.array([1]), weights)
    assert (step**2).sum() == pytest.approx(private_head._L2_SQUARED, rel=1e-3)


def test_with_a_large_budget_the_private_head_is_the_exact_one():
    x, y = blobs(200)
    exact = fit_exact_head(examples(x, y), SCALE)
    close = fit(x, y, rho=Fraction(10**9))
    assert np.allclose(close.head.weights, exact.weights, atol=0.02 * np.abs(exact.weights).max())


def test_the_length_of_a_head_tells_nothing():
    for n, rho in ((20, Fraction(1, 1000)), (600, Fraction(10))):
        weights = fit(*blobs(n), rho=rho).head.weights * SCALE.norm
        assert np.sqrt((weights**2).sum(axis=1).mean()) == pytest.approx(LENGTH)


def test_nothing_but_a_budget_buys_a_head():
    with pytest.raises(BudgetError, match="ρ = 0 in 32 steps"):
        fit(*blobs(10), rho=Fraction(0))
    with pytest.raises(BudgetError, match="in 0 steps"):
        fit(*blobs(10), steps=0)


def test_a_private_head_is_another_every_time_and_an_exact_one_is_not():
    x, y = blobs(60)
    assert not np.allclose(fit(x, y).head.weights, fit(x, y).head.weights)
    first, second = (fit_exact_head(examples(x, y), SCALE).weights for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_class_that_nobody_has_is_part_of_the_head():
    x, y = blobs(60)
    assert fit(x[y < 2], y[y < 2]).head.weights.shape == (3, 8)


def test_images_for_a_private_head_are_all_kept_however_many_there_are():
    kept = head_images(PARAMETERS)
    for _ in range(3):
        kept.add(*blobs(9_000), np.full(9_000, 2))
    known = kept.examples(3)
    assert len(known.features) == len(known.labels) == 27_000
    assert known.counts.sum() == 54_000


def test_the_head_of_a_task_spends_what_it_may_and_nothing_where_no_noise_is_asked_for():
    kept = head_images(PARAMETERS)
    kept.add(*blobs(60), np.full(60, 12))
    noisy = task_head(PARAMETERS, kept, 8, HeadTerms(3, weight=12, rho=RHO))
    assert Fraction(99, 100) * RHO < noisy.rho <= RHO
    exact = task_head(PARAMETERS, kept, 8, HeadTerms(3))
    assert exact.rho == 0
    assert exact.head.weights.shape == noisy.head.weights.shape
