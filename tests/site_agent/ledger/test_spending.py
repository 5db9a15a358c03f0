"""What counts against a budget, compared with what each single patient really loses."""

import random
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import START, YEAR, Clock, budgets, charge, ledger_in

from federation.errors import BudgetError
from site_agent.ledger.spending import Outlay, spent

POPULATION, TASK = budgets()


def outlays(*releases):
    return [Outlay.of(charge("r", rho, cohort=c, task=t), START) for rho, c, t, *_ in releases]


def test_releases_of_all_patients_add_up():
    assert spent(outlays(("1/3", None, "lungs"), ("1/6", None, "lungs")), TASK, START) == Fraction(1, 2)


def test_of_disjoint_cohorts_only_the_dearest_counts():
    made = outlays(("1/3", "2026-01", "lungs"), ("1/6", "2026-02", "lungs"), ("1/5", "2026-02", "lungs"))
    assert spent(made, TASK, START) == Fraction(11, 30)
    assert spent(made, POPULATION, START) == Fraction(11, 30)


def test_cohorts_come_on_top_of_releases_of_all_patients():
    made = outlays(("1/3", None, "lungs"), ("1/6", "a", "lungs"), ("1/7", "b", "lungs"))
    assert spent(made, TASK, START) == Fraction(1, 2)


def test_cohorts_of_different_tasks_may_share_patients_and_add_up():
    made = outlays(("1/3", "a", "lungs"), ("1/6", "b", "skin"))
    assert spent(made, POPULATION, START) == Fraction(1, 2)
    assert spent(made, TASK, START) == Fraction(1, 3)


def test_cohorts_of_different_series_may_share_patients_and_add_up():
    made = outlays(
        ("1/3", "space-1/a", "lungs"), ("1/6", "space-2/b", "lungs"), ("1/7", "space-1/b", "lungs")
    )
    assert spent(made, TASK, START) == Fraction(1, 2)


def test_what_left_the_window_no_longer_counts():
    made = outlays(("1/3", None, "lungs"))
    assert spent(made, TASK, START + YEAR - 1) == Fraction(1, 3)
    assert spent(made, TASK, START + YEAR) == 0


releases = st.lists(
    st.tuples(
        st.fractions(Fraction(1, 50), Fraction(1, 2), max_denominator=50),
        st.sampled_from([None, "a", "b", "c"]),
        st.sampled_from(["lungs", "skin"]),
        st.integers(0, 200),
    ),
    max_size=25,
)


@given(releases, st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_no_patient_ever_loses_more_than_is_counted(made, seed):
    chosen = random.Random(seed)
    patients = [{task: chosen.choice("abc") for task in ("lungs", "skin")} for _ in range(9)]
    counted = spent(outlays(*made), POPULATION, START)
    lost = [
        sum((rho for rho, cohort, task, _ in made if cohort in (None, patient[task])), Fraction(0))
        for patient in patients
    ]
    assert max(lost) <= counted


@given(releases)
@settings(max_examples=100, deadline=None)
def test_of_one_task_exactly_the_loss_of_the_most_exposed_patient_is_counted(made):
    own = [release for release in made if release[2] == "lungs"]
    lost = [sum((rho for rho, cohort, *_ in own if cohort in (None, mine)), Fraction(0)) for mine in "abc"]
    counted = spent(outlays(*made), TASK, START)
    assert counted == max(lost)


@given(releases)
@settings(max_examples=15, deadline=None)
def test_no_window_of_a_ledger_ever_exceeds_a_limit(made):
    """Whatever is asked for, in whatever order: neither the population nor a task is overdrawn."""
    clock, accepted = Clock(), []
    with TemporaryDirectory() as folder:
        ledger = ledger_in(Path(folder), clock=clock)
        for i, (rho, cohort, task, days) in enumerate(made):
            clock.now += days * 86_400.0
            asked = charge(f"r{i}", rho, cohort=cohort, task=task)
            try:
                accepted.append(Outlay.of(asked, ledger.charge(asked, budgets("4/5", "1/2", name=task)).at))
            except BudgetError:
                continue
    for end in {outlay.at for outlay in accepted}:
        window = [outlay for outlay in accepted if end - YEAR < outlay.at <= end]
        for patient in "abc":
            lost = [outlay for outlay in window if outlay.cohort in (None, patient)]
            assert sum(outlay.rho for outlay in lost) <= Fraction(4, 5)
            assert sum(outlay.rho for outlay in lost if outlay.task == "skin") <= Fraction(1, 2)


@pytest.mark.parametrize("budget", [POPULATION, TASK])
def test_nothing_spent_is_exactly_nothing(budget):
    assert spent([], budget, START) == 0
    assert budget.describe(Fraction(0)) == "ρ 0 (ε 0 at δ 1e-06)"
