import numpy as np
import pytest

from deploy.research.agreement import agreement


def test_a_monotone_distance_agrees_fully_and_a_reversed_one_not_at_all():
    x = np.random.default_rng(0).random((5, 5))
    rows = agreement({"same": x**3, "reversed": -x}, {"x": x})
    assert [(row["pairs"], row["targets"]) for row in rows] == [
        (pytest.approx(1), pytest.approx(1)),
        (pytest.approx(-1), pytest.approx(-1)),
    ]


def test_what_only_differs_between_targets_agrees_within_each_target_alone():
    x = np.random.default_rng(0).random((6, 6))
    row = agreement({"entropy": x + 100 * np.arange(6)[::-1]}, {"x": x})[0]
    assert row["targets"] == pytest.approx(1)
    assert row["pairs"] < 0.5


def test_a_constant_distance_has_no_ranking_to_agree():
    assert agreement({"flat": np.ones((4, 4))}, {"x": np.random.default_rng(0).random((4, 4))})[0] == {
        "fingerprint": "flat",
        "sample": "x",
        "pairs": None,
        "targets": None,
    }
