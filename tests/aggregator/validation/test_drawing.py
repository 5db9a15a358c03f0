"""The drawings of a setting."""

import itertools

import pytest
from study_files import make_study, random_performance

from aggregator.validation.drawing import curves, forest, say_signed
from aggregator.validation.evaluate import evaluate
from aggregator.validation.selectors import Selector, selectors

ORACLE = Selector("oracle", lambda study, setting: study.outcomes[setting].performance)
REVERSED = Selector("reversed", lambda study, setting: -study.outcomes[setting].performance)


@pytest.fixture(scope="module")
def results():
    study = make_study(
        random_performance(8), {"near": random_performance(8, seed=1)[0]}, baseline=0.7, sizes=range(10, 18)
    )
    return evaluate(study, [REVERSED, *selectors(study), ORACLE])


def test_the_forest_lists_the_best_first_and_marks_what_lies_beyond_chance(results):
    rows = forest(results).rows
    assert rows[0].name == "oracle"
    assert rows[-1].name == "reversed"
    assert "no_transfer" not in [row.name for row in rows]
    assert {row.name for row in rows if row.beyond_chance} >= {"oracle", "reversed"}
    assert all(row.low <= row.x <= row.high for row in rows)


def test_zero_is_where_random_is_and_in_the_middle_of_its_band(results):
    plot = forest(results)
    random = next(row for row in plot.rows if row.name == "random")
    assert random.x == plot.zero == pytest.approx(sum(plot.band) / 2, abs=0.1)
    assert plot.ticks[0].text == "−1.0"
    assert plot.ticks[-1].text == "+1.0"


def test_the_strongest_and_the_rules_to_beat_are_named_at_their_curves(results):
    plot = curves(results)
    assert {curve.name for curve in plot.curves if curve.css != "quiet"} >= {
        "oracle",
        "random",
        "largest_source",
    }
    assert "no_transfer" not in {curve.name for curve in plot.curves}


def test_labels_stand_apart_and_above_the_axis(results):
    plot = curves(results)
    heights = sorted(curve.label_y for curve in plot.curves if curve.css != "quiet")
    assert all(lower - upper >= 14.9 for upper, lower in itertools.pairwise(heights))
    assert heights[-1] <= plot.foot


def test_nothing_is_drawn_of_what_is_not_known():
    found = evaluate(make_study(random_performance(4)), [ORACLE])
    assert curves(found) is None
    nothing = [each for each in found if each.selector == "no_transfer"]
    assert forest(nothing) is None


def test_signed_numbers_have_a_true_minus_and_zero_has_no_sign():
    assert [say_signed(value) for value in (0.123, -0.123, -0.001, float("nan"))] == [
        "+0.12",
        "−0.12",
        "0.00",
        "–",
    ]
