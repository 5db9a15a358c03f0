"""The shares of noise that a budget buys, array by array."""

from fractions import Fraction

import pytest
from factories import make_noisy_space
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import BudgetError, PolicyError
from federation.privacy.distributed import share_for
from federation.privacy.mechanism import planned_noise
from federation.privacy.shares import cost_of_shares, planned_shares
from federation.sketches import encode_arrays, zeros

EMPTY = zeros(make_noisy_space("cdf", "histogram"))
RHO = Fraction(1, 50)
budgets = st.fractions(min_value=Fraction(1, 10**6), max_value=Fraction(10), max_denominator=10**7)


@settings(deadline=None, max_examples=30)
@given(budgets, st.integers(1, 60), st.integers(1, 70))
def test_a_sum_keeps_to_its_budget(rho, weight, honest):
    shares = planned_shares(EMPTY, rho, weight, honest)
    assert set(shares) == set(encode_arrays(EMPTY))
    assert 0 < cost_of_shares(EMPTY, shares, weight, honest) <= rho


def test_kinds_share_evenly_and_arrays_as_their_kind_says():
    shares = planned_shares(EMPTY, RHO, 1, 5)
    cdf, counts = EMPTY["cdf"].sensitivity(1), EMPTY["histogram"].sensitivity(1)["counts"]
    sizes = {name: array.size for name, array in encode_arrays(EMPTY).items()}
    assert shares == {
        "histogram.counts": share_for(counts.l2_squared, RHO / 2, 5, sizes["histogram.counts"]),
        "cdf.n_images": share_for(1, RHO / 10, 5, 1),
        "cdf.curve": share_for(cdf["curve"].l2_squared, RHO * Fraction(2, 5), 5, sizes["cdf.curve"]),
    }


@pytest.mark.parametrize("honest", [1, 4, 30])
def test_honest_sites_together_add_the_noise_of_one_release(honest):
    alone, _ = planned_noise(EMPTY, RHO, 12)
    for name, share in planned_shares(EMPTY, RHO, 12, honest).items():
        assert 0 <= honest * share - alone[name] <= max(honest, 16 * honest - alone[name])


def test_no_budget_no_sketch_and_undrawable_noise_are_refused():
    with pytest.raises(BudgetError, match="no shares of noise are enough"):
        planned_shares(EMPTY, Fraction(0), 1, 3)
    with pytest.raises(BudgetError, match=r"beyond 2\^50"):
        planned_shares(EMPTY, Fraction(1, 10**12), 2520, 3)
    with pytest.raises(PolicyError, match="no sketch"):
        planned_shares({}, RHO, 1, 3)
