"""How long budgets last."""

from fractions import Fraction

import pytest
from ledgers import START, YEAR, budgets, charge

from site_agent.ledger.forecast import MOST_RELEASES, forecast
from site_agent.ledger.overview import in_words
from site_agent.ledger.spending import Outlay, fits

DAY = 86_400.0


def made_every(days, n, rho="1/10", cohort=None):
    cohorts = [None if cohort is None else f"{cohort}{i}" for i in range(n)]
    return [Outlay.of(charge("r", rho, cohort=c), START + i * days * DAY) for i, c in enumerate(cohorts)]


def of_task(outlays, days, *, rho="1/10", cohort=None, limit=1, period=YEAR):
    return forecast(
        outlays,
        budgets(limit, limit, period=period)[1],
        charge("next", rho, cohort=cohort),
        START + days * DAY,
    )


def test_without_releases_the_usual_pace_is_a_month():
    known = of_task([], 0, limit="35/100")
    assert (known.n_more, known.measured, known.possible_from) == (3, False, START)
    assert in_words(known) == "at one release of this size every 30 days: 3 more; the last one on 2027-03-16"


def test_with_releases_the_pace_is_theirs():
    known = of_task(made_every(7, 4), 28, period=None)
    assert (known.interval, known.measured, known.n_more) == (7 * DAY, True, 6)
    assert known.lasts_until == START + (28 + 5 * 7) * DAY
    assert (known.spent, known.remaining) == (Fraction(2, 5), Fraction(3, 5))


def test_a_pace_that_the_window_sustains_has_no_end():
    known = of_task(made_every(40, 3), 120)
    assert (known.n_more, known.lasts_until) == (None, None)
    assert in_words(known).endswith("every 40 days: without end")


def test_releases_about_new_patients_only_have_no_end():
    assert of_task(made_every(30, 9, cohort="2026-"), 270, cohort="next", period=None).n_more is None


def test_new_patients_of_a_series_still_fit_when_its_first_cohort_took_everything():
    made = made_every(30, 1, rho=1, cohort="space/cohort-")
    assert of_task(made, 30, rho=1, cohort="space/next").n_more is None
    assert of_task(made, 30, rho=1, cohort="other/next").n_more == 0


def test_a_spent_budget_says_until_when():
    known = of_task(made_every(1, 10), 10)
    assert (known.n_more, known.possible_from) == (0, START + YEAR)
    assert in_words(known) == "spent until 2028-01-15"
    assert in_words(of_task(made_every(1, 10), 10, period=None)) == "spent for good"


def test_counting_stops_somewhere():
    known = of_task([], 0, rho="1/1000000", period=None)
    assert known.n_more == MOST_RELEASES
    assert "1,000 or more" in in_words(known)


@pytest.mark.parametrize("days", [1, 20, 36, 37, 60])
def test_a_forecast_comes_true(days):
    """Releases at the foretold pace are possible as often as foretold and not once more."""
    budget, made = budgets()[1], made_every(days, 2)
    now = START + 2 * days * DAY
    foretold = forecast(made, budget, charge("next"), now).n_more
    done = 0
    while done < 50 and fits(made, budget, charge("next"), now + done * days * DAY):
        made.append(Outlay.of(charge("next"), now + done * days * DAY))
        done += 1
    assert done == (50 if foretold is None else foretold)
