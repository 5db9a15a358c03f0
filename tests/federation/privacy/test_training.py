"""What a model costs: the closed form, exactly, and nothing less."""

import math
import re
from fractions import Fraction
from pathlib import Path

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant

from federation.errors import BudgetError
from federation.privacy.accounting import eps_of, rho_for
from federation.privacy.noise import LARGEST_VARIANCE, discrete_gaussian
from federation.privacy.training import (
    gradient_noise,
    model_privacy,
    noise_multiplier_for,
    training_rho,
)

PAGE = (Path(__file__).parents[3] / "docs/privacy-proofs.md").read_text()
MULTIPLIERS = st.floats(1e-3, 1e6)
EPOCHS = st.integers(1, 1000)


@given(MULTIPLIERS, EPOCHS)
def test_a_run_costs_exactly_its_epochs_over_twice_the_squared_multiplier(sigma, epochs):
    assert training_rho(sigma, epochs) == Fraction(epochs) / 2 / Fraction(sigma) / Fraction(sigma)


def test_the_closed_form_in_numbers_that_a_person_can_check():
    assert training_rho(2.0, 10) == Fraction(5, 4)
    assert training_rho(0.5, 1) == 2
    assert noise_multiplier_for(Fraction(5, 4), 10) == 2.0


@given(MULTIPLIERS, EPOCHS)
def test_epochs_add_up_and_more_noise_costs_less(sigma, epochs):
    assert training_rho(sigma, epochs) == epochs * training_rho(sigma, 1)
    assert training_rho(math.nextafter(sigma, math.inf), epochs) < training_rho(sigma, epochs)


@given(st.fractions(Fraction(1, 10**6), 10**4), EPOCHS)
def test_the_multiplier_keeps_the_budget_and_the_next_smaller_one_would_not(rho, epochs):
    sigma = noise_multiplier_for(rho, epochs)
    assert training_rho(sigma, epochs) <= rho
    assert training_rho(math.nextafter(sigma, 0), epochs) > rho


@given(st.floats(1e-3, 1e6))
def test_drawn_noise_never_costs_more_than_is_charged(sigma):
    noise = gradient_noise(sigma)
    assert noise.rho <= training_rho(sigma, 1)
    assert noise.rho >= training_rho(sigma, 1) * Fraction(99, 100) or noise.variance < 10**4
    assert 1 <= noise.variance <= LARGEST_VARIANCE


def test_noise_has_the_stated_spread():
    noise = gradient_noise(1.5)
    drawn = discrete_gaussian(200_000, noise.variance) / noise.units
    assert abs(drawn.std() / 1.5 - 1) < 5 / math.sqrt(2 * 200_000)


def test_a_model_states_the_eps_of_its_rho():
    privacy = model_privacy(Fraction(5, 4), 1e-6, "patient")
    assert (privacy.rho, privacy.eps, privacy.unit) == ("5/4", eps_of(Fraction(5, 4), 1e-6), "patient")
    assert model_privacy(rho_for(8.0, 1e-6), 1e-6, "image").eps <= 8


@pytest.mark.parametrize(
    "call",
    [
        lambda: training_rho(0.0, 1),
        lambda: training_rho(math.nan, 1),
        lambda: training_rho(math.inf, 1),
        lambda: training_rho(1.0, 0),
        lambda: noise_multiplier_for(Fraction(0), 1),
        lambda: noise_multiplier_for(Fraction(1), 0),
        lambda: noise_multiplier_for(Fraction(1, 10**700), 1),
        lambda: gradient_noise(-1.0),
        lambda: gradient_noise(1e12),
        lambda: model_privacy(Fraction(0), 1e-6, "patient"),
        lambda: model_privacy(Fraction(1), 1.0, "patient"),
    ],
)
def test_impossible_runs_are_refused(call):
    with pytest.raises(BudgetError):
        call()


def test_what_poisson_sampling_would_claim_is_what_the_page_says():
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\S+) \| (\S+) \| (\S+) \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == 3
    for sigma, epochs, batches, rho, eps, poisson in rows:
        cost = training_rho(float(sigma), int(epochs))
        assert (str(cost), f"{eps_of(cost, 1e-6):.3f}") == (rho, eps)
        assert {f"{claimed:.3f}" for claimed in poisson_eps(float(sigma), int(epochs), int(batches))} == {
            poisson
        }


def poisson_eps(sigma, epochs, batches):
    """ε at δ = 10⁻⁶ of DP-SGD with Poisson-sampled batches, by two accountants."""
    accountant = RdpAccountant()
    step = PoissonSampledDpEvent(1 / batches, GaussianDpEvent(sigma))
    accountant.compose(SelfComposedDpEvent(step, epochs * batches))
    opacus = RDPAccountant()
    opacus.history = [(sigma, 1 / batches, epochs * batches)]
    return accountant.get_epsilon(1e-6), opacus.get_epsilon(1e-6)
