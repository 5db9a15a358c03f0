"""The benchmark of secure aggregation plays real rounds and counts what crosses the wire."""

import pytest

from benchmarks.secagg import Play, measure
from federation.errors import CohortTooSmallError


def test_a_measured_round_has_all_figures():
    row = measure(5, 64, 1)
    assert (row["sites"], row["length"], row["dropouts"]) == (5, 64, 1)
    assert (row["degree"], row["threshold"]) == (4, 4)
    times = ("client_ms", "client_processor_ms", "flower_client_ms", "ratio", "server_ms", "total_s")
    assert all(row[name] > 0 for name in times)
    assert row["upload_ratio"] == row["upload_bytes"] / (64 * 4)


def test_uploads_grow_by_the_bytes_of_the_vector_and_stay_small_beside_it():
    short, long = (measure(3, length, 0)["upload_bytes"] for length in (1_000, 51_200))
    assert 4 * 50_200 <= long - short < 4 * 50_200 + 100
    assert long < 1.1 * 4 * 51_200


def test_who_drops_out_does_not_contribute():
    play = Play.of(7, 16, 2)
    opened = play.round()
    assert set(opened.contributors) == set(play.terms.members) - play.missing
    assert len(play.missing) == 2


def test_a_round_of_too_few_is_no_result():
    with pytest.raises(CohortTooSmallError):
        Play.of(7, 16, 3).round()
