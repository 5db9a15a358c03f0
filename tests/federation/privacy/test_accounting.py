"""What ρ costs and means: published figures, two other accountants, fifty digits, and the algebra."""

import math
from fractions import Fraction

import mpmath
import pytest
from dp_accounting import GaussianDpEvent, ZCDpEvent, get_epsilon_gaussian
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import BudgetError
from federation.privacy.accounting import delta_of, eps_by_pld, eps_of, rho_for, rho_of, variance_for

DELTA = 1e-6
ROUNDING = 1 - 1e-9
RHOS = [Fraction(1, 10**8), Fraction(1, 10**4), Fraction(1, 40), Fraction(1, 2), Fraction(7), Fraction(100)]
DELTAS = [1e-15, 1e-9, 1e-6, 1e-3, 0.1]
rhos = st.fractions(Fraction(1, 10**8), 100)
deltas = st.floats(-15, -1).map(lambda power: 10.0**power)


@pytest.mark.parametrize(("eps", "ratio"), [(1, 4.53), (4, 1.27), (8, 0.69)])
def test_noise_for_a_common_eps_is_the_published_one(eps, ratio):
    assert math.sqrt(1 / (2 * rho_for(eps, DELTA))) == pytest.approx(ratio, abs=0.005)


def test_eps_is_that_of_another_library_for_its_own_example():
    assert eps_of(Fraction(1, 32), 1e-3) == pytest.approx(0.6880024554878086, rel=1e-12)  # OpenDP


def test_the_privacy_loss_distribution_allows_the_published_smaller_noise():
    assert eps_by_pld(1 / (2 * Fraction("4.2247") ** 2), DELTA) == pytest.approx(1, abs=1e-4)


def test_histograms_of_512_features_need_noise_of_about_a_hundred():
    assert 102 < math.sqrt(variance_for(512, rho_for(1, DELTA))) < 103


def test_a_weekly_refresh_costs_two_a_year_and_not_twelve():
    week = rho_of(1, 16**2)
    assert eps_by_pld(52 * week, DELTA) == pytest.approx(2.01, abs=0.005)
    assert eps_of(52 * week, DELTA) == pytest.approx(2.16, abs=0.005)
    assert 52 * eps_by_pld(week, DELTA) == pytest.approx(12.5, abs=0.05)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("rho", RHOS)
def test_eps_is_the_infimum_of_the_published_formula_and_not_below_it(rho, delta):
    truth = true_eps(rho, delta)
    assert truth <= eps_of(rho, delta) <= truth * (1 + 1e-7) + 1e-15


def true_eps(rho, delta):
    """Proposition 12 of Canonne, Kamath, Steinke 2020 with fifty digits, minimised by golden section."""
    with mpmath.workdps(50):
        r, d = mpmath.mpf(rho.numerator) / rho.denominator, mpmath.mpf(delta)

        def eps_at(log_x):
            x = mpmath.exp(log_x)
            a = 1 + x
            return a * r + mpmath.log(1 - 1 / a) - (mpmath.log(d) + mpmath.log(a)) / x

        low, high = mpmath.mpf(-20), mpmath.mpf(40)
        golden = (mpmath.sqrt(5) - 1) / 2
        for _ in range(150):
            left, right = high - golden * (high - low), low + golden * (high - low)
            low, high = (low, right) if eps_at(left) < eps_at(right) else (left, high)
        return max(mpmath.mpf(0), eps_at(low))


@pytest.mark.parametrize("delta", [1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("rho", RHOS[1:])
def test_eps_agrees_with_an_accountant_of_renyi_divergences(rho, delta):
    orders = [1 + 10 ** (i / 100) for i in range(-150, 450)]
    theirs = RdpAccountant(orders).compose(ZCDpEvent(float(rho))).get_epsilon(delta)
    assert eps_of(rho, delta) <= theirs * (1 + 1e-9)
    if eps_of(rho, delta) > 0.01:
        assert eps_of(rho, delta) == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("rho", RHOS)
def test_a_gaussians_own_curve_is_never_above_the_general_one(rho, delta):
    assert eps_by_pld(rho, delta) <= eps_of(rho, delta)


@pytest.mark.parametrize("rho", RHOS)
def test_the_privacy_loss_distribution_agrees_with_the_closed_form_of_a_gaussian(rho):
    exact = get_epsilon_gaussian(1 / math.sqrt(2 * rho), 1e-6)
    assert exact - 1e-12 <= eps_by_pld(rho, 1e-6) <= exact * 1.001 + 1e-12


@given(rhos, deltas)
def test_eps_and_delta_are_inverse_and_rounded_against_the_releaser(rho, delta):
    eps = eps_of(rho, delta)
    if eps > 1e-6:
        assert delta_of(rho, eps) == pytest.approx(delta, rel=1e-6)
        assert delta_of(rho, eps * (1 - 1e-6)) > delta


@given(rhos, rhos, deltas, deltas)
def test_eps_rises_with_rho_and_falls_with_delta(rho, more, delta, other):
    assert eps_of(rho + more, delta) >= eps_of(rho, delta)
    assert eps_of(rho, min(delta, other)) >= eps_of(rho, max(delta, other)) * ROUNDING


@given(rhos, rhos, st.floats(0.01, 50), st.floats(0.01, 50))
def test_delta_rises_with_rho_and_falls_with_eps(rho, more, eps, other):
    assert delta_of(rho + more, eps) >= delta_of(rho, eps)
    assert delta_of(rho, min(eps, other)) >= delta_of(rho, max(eps, other)) * ROUNDING
    assert 0 < delta_of(rho, eps) <= 1


@given(st.floats(0.001, 50), deltas)
def test_a_budget_keeps_its_eps_and_one_digit_more_would_not(eps, delta):
    rho = rho_for(eps, delta)
    assert eps_of(rho, delta) <= eps
    assert eps_of(rho * (1 + Fraction(2, 10**8)), delta) > eps


@given(st.floats(0.001, 50), deltas)
def test_a_budget_has_nine_decimal_digits(eps, delta):
    rho = rho_for(eps, delta)
    power = math.floor(math.log10(rho)) - 8
    assert any((rho / Fraction(10) ** p).denominator == 1 for p in (power - 1, power))


@given(st.integers(1, 10**12), st.fractions(Fraction(1, 10**6), 100))
def test_the_variance_is_enough_and_one_less_is_not(l2_squared, rho):
    variance = variance_for(l2_squared, rho)
    assert rho_of(l2_squared, variance) <= rho
    assert variance == 1 or rho_of(l2_squared, variance - 1) > rho


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**4))
def test_the_cost_of_releases_adds_exactly(first, second, variance):
    assert rho_of(first, variance) + rho_of(second, variance) == rho_of(first + second, variance)
    assert rho_of(1, 3) * 3 == Fraction(1, 2)


def test_composition_of_unlike_gaussians_is_that_of_one_of_the_summed_rho():
    from dp_accounting.pld import PLDAccountant

    both = PLDAccountant().compose(GaussianDpEvent(3)).compose(GaussianDpEvent(5))
    assert eps_by_pld(rho_of(1, 9) + rho_of(1, 25), DELTA) == pytest.approx(both.get_epsilon(DELTA), rel=1e-3)


def test_nothing_released_costs_nothing():
    assert rho_of(0, 9) == 0
    assert variance_for(0, Fraction(1, 2)) == 1
    for delta in DELTAS:
        assert eps_of(Fraction(0), delta) == 0.0
        assert eps_by_pld(Fraction(0), delta) == 0.0
    assert delta_of(Fraction(0), 1.0) == 0.0


def test_a_whole_delta_of_slack_hides_a_tiny_release():
    assert eps_of(Fraction(1, 10**8), 0.1) == 0.0


def test_absurd_budgets_are_counted_and_not_overflowed():
    assert 0 < eps_of(Fraction(1, 10**400), 1e-300) < 1e-40
    assert 0 < delta_of(Fraction(1, 10**400), 1.0) < 1e-300
    assert eps_of(Fraction(10**18), DELTA) > 1e18
    assert rho_for(1e-9, 1e-300) > 0
    assert rho_for(1e9, DELTA) < 10**9


NO_RHO = [Fraction(-1, 9), -1e-9, math.nan, math.inf, -math.inf, 10**19]
NO_EPS = [0, -1, math.nan, math.inf, -math.inf, 1e-12, 1e12]
NO_DELTA = [0, 1, -0.1, 1.5, math.nan, math.inf]


@pytest.mark.parametrize("rho", NO_RHO)
def test_an_impossible_rho_is_refused(rho):
    for refused in (
        lambda: eps_of(rho, DELTA),
        lambda: delta_of(rho, 1.0),
        lambda: eps_by_pld(rho, DELTA),
        lambda: variance_for(1, rho),
    ):
        assert_refused(refused, "ρ")


@pytest.mark.parametrize("eps", NO_EPS)
def test_an_impossible_eps_is_refused(eps):
    assert_refused(lambda: rho_for(eps, DELTA), "ε")
    assert_refused(lambda: delta_of(Fraction(1), eps), "ε")


@pytest.mark.parametrize("delta", NO_DELTA)
def test_an_impossible_delta_is_refused(delta):
    for refused in (
        lambda: rho_for(1.0, delta),
        lambda: eps_of(Fraction(1), delta),
        lambda: eps_by_pld(Fraction(1), delta),
    ):
        assert_refused(refused, "δ")


@pytest.mark.parametrize(
    ("l2_squared", "variance"), [(-1, 1), (1, 0), (1, -4), (1.0, 4), (1, 4.0), (True, 4)]
)
def test_a_sensitivity_or_variance_that_is_no_such_integer_is_refused(l2_squared, variance):
    assert_refused(lambda: rho_of(l2_squared, variance), "no integer")


def test_no_noise_is_enough_for_no_budget():
    assert_refused(lambda: variance_for(1, Fraction(0)), "ρ = 0")


def assert_refused(call, name):
    with pytest.raises(BudgetError, match=name) as caught:
        call()
    assert caught.value.code == "budget"
    assert caught.value.remedy
