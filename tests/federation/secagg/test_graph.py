"""The graph is regular, the same for everybody, and as safe as its rule says."""

import hashlib
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from federation.errors import RosterError, TermsError
from federation.secagg import graph

LARGE = [101, 102, 150, 199, 200, 333, 500, 1000, 2000, 10_000]


def members(n):
    return sorted(f"site-{k}" for k in range(n))


def seeds(n):
    return [hashlib.sha256(bytes([k])).digest() for k in range(n)]


def colluders_on_sides(n, degree, draws, seed):
    """Most colluders on one side of any member of a ring drawn at random, for many of them."""
    generator = np.random.default_rng(seed)
    colluding = np.zeros((draws, n), dtype=np.int64)
    colluding[:, : graph.most_colluders(n)] = 1
    around = generator.permuted(colluding, axis=1)
    sums = np.cumsum(np.concatenate([around, around[:, : degree // 2]], axis=1), axis=1)
    return sums[:, degree // 2 :] - sums[:, : -(degree // 2)]


@pytest.mark.parametrize("n", range(3, 101))
def test_up_to_a_hundred_members_everybody_is_linked_and_more_than_two_thirds_open(n):
    assert graph.degree(n) == n - 1
    assert 3 * graph.threshold(n) > 2 * n >= 3 * (graph.threshold(n) - 1)
    assert graph.minimum(n) == graph.threshold(n)
    assert 3 * graph.most_colluders(n) < n <= 3 * (graph.most_colluders(n) + 1)


@settings(max_examples=25)
@given(st.integers(3, 60), st.binary(min_size=32, max_size=32))
def test_everybody_is_everybody_s_neighbour_on_the_complete_graph(n, seed):
    names = members(n)
    circle = graph.neighbours(names, n - 1, seed)
    assert all(circle.of(name) == tuple(other for other in names if other != name) for name in names)


@settings(max_examples=25)
@given(st.integers(5, 60), st.binary(min_size=32, max_size=32), st.data())
def test_the_graph_is_symmetric_regular_and_sorted(n, seed, data):
    names, degree = members(n), 2 * data.draw(st.integers(1, (n - 1) // 2))
    circle = graph.neighbours(names, degree, seed)
    near = {name: circle.of(name) for name in names}
    assert all(len(peers) == degree and list(peers) == sorted(set(peers)) for peers in near.values())
    assert all(name in near[peer] and name != peer for name, peers in near.items() for peer in peers)


@pytest.mark.parametrize("seed", seeds(3))
def test_the_graph_falls_apart_only_where_two_gaps_are_as_wide_as_its_reach(seed):
    names = members(60)
    circle = graph.neighbours(names, 8, seed)
    ring = circle.ring
    assert connected(circle, names)
    assert connected(circle, set(names) - {*ring[3:7]})  # one gap of degree/2
    assert connected(circle, set(names) - {*ring[3:6], *ring[30:33]})
    assert not connected(circle, set(names) - {*ring[3:7], *ring[30:34]})


def connected(circle, left):
    left = set(left)
    reached, frontier = set(), {min(left)}
    while frontier:
        reached |= frontier
        frontier = {peer for name in frontier for peer in circle.of(name) if peer in left} - reached
    return reached == left


def test_the_graph_is_the_same_for_everybody_and_another_for_another_seed():
    names = members(300)
    one, other = seeds(2)
    assert graph.neighbours(names, 20, one) == graph.neighbours(names, 20, one)
    assert graph.neighbours(names, 20, one).ring != graph.neighbours(names, 20, other).ring


def test_the_order_of_the_ring_is_fixed_for_all_versions():
    """Sites of two versions in one round must agree; HMAC-SHA256 of the name under the seed."""
    assert graph.neighbours(members(6), 2, bytes(32)).ring == (
        "site-5", "site-4", "site-1", "site-0", "site-3", "site-2",
    )  # fmt: skip


@pytest.mark.parametrize("degree", [6, 19])
def test_who_takes_no_part_leaves_a_gap_and_the_others_neighbours_as_they_were(degree):
    names = members(20)
    circle = graph.neighbours(names, degree, bytes(32))
    absent = set(circle.ring[:4])
    fewer = circle.among(set(names) - absent)
    for name in circle.ring[4:]:
        assert fewer.of(name) == tuple(peer for peer in circle.of(name) if peer not in absent)
    with pytest.raises(RosterError, match="not in the graph"):
        fewer.of(circle.ring[0])


def test_who_is_not_in_the_graph_has_no_neighbours():
    with pytest.raises(RosterError, match="mallory is not in the graph"):
        graph.neighbours(members(5), 2, bytes(32)).of("mallory")


@pytest.mark.parametrize("degree", [0, -2, 3, 7, 10, 11])
def test_an_impossible_degree_is_refused(degree):
    with pytest.raises(TermsError, match=f"degree of 10 members is {degree}"):
        graph.neighbours(members(10), degree, bytes(32))
    with pytest.raises(TermsError, match=f"degree of 10 members is {degree}"):
        graph.threshold(10, degree)


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_a_seed_of_another_length_is_refused(seed):
    with pytest.raises(TermsError, match="expected 32"):
        graph.neighbours(members(5), 4, seed)


@pytest.mark.parametrize("n", LARGE)
def test_large_cohorts_keep_what_the_rule_promises(n):
    degree, t = graph.degree(n), graph.threshold(n)
    holders, colluders = degree + 1, graph.most_colluders(n)
    assert degree % 2 == 0
    assert 3 * graph.minimum(n) > 2 * n
    side = hypergeom(n - 1, colluders, degree // 2)
    assert 2 * n * side.sf(t - degree // 2 - 2) <= 2**-80
    assert 2 * n * side.sf(t - degree // 2 - 3) > 2**-80, "a smaller threshold would do"
    around = hypergeom(n - 1, colluders, degree)
    assert n * around.sf(2 * t - holders - 1) <= 2**-80, "both secrets of a member could be recovered"
    dropped = hypergeom(n, -(-n // 20), holders)
    assert n * dropped.sf(holders - t) <= 2**-30


@pytest.mark.parametrize("n", [102, 150, 500, 1000])
def test_a_larger_degree_than_the_rule_s_has_a_threshold_too(n):
    for degree in (*range(graph.degree(n), n - 1, 2), n - 1):
        assert degree // 2 + 1 < graph.threshold(n, degree) <= degree + 1


def test_everybody_linked_in_a_large_cohort_is_as_in_a_small_one():
    assert graph.threshold(150, 149) == graph.minimum(150) == 101


def test_a_thousand_members_have_two_hundred_neighbours_each():
    assert (graph.degree(1000), graph.threshold(1000), graph.minimum(1000)) == (198, 167, 667)
    assert graph.most_colluders(1000) == 200


@pytest.mark.parametrize(("n", "degree"), [(200, 20), (1000, 40)])
def test_simulated_rings_have_as_many_colluders_on_a_side_as_calculated(n, degree):
    """On a smaller degree, where every number is exceeded often enough to be counted."""
    draws = 400
    observed = colluders_on_sides(n, degree, draws, seed=n)
    distribution = hypergeom(n, graph.most_colluders(n), degree // 2)
    for colluding in range(degree // 2 + 1):
        expected = distribution.sf(colluding)
        assert abs((observed > colluding).mean() - expected) < 6 * np.sqrt(expected / draws) + 1e-9


def test_simulated_rings_never_exceed_what_the_threshold_bears():
    degree, t = graph.degree(1000), graph.threshold(1000)
    assert colluders_on_sides(1000, degree, 200, seed=1).max() + degree // 2 + 1 < t


@pytest.mark.parametrize("n", [101, 500, 1000])
def test_simulated_drop_outs_leave_enough_holders(n):
    circle = graph.neighbours(members(n), graph.degree(n), seeds(1)[0])
    generator = np.random.default_rng(n)
    holders = [{*circle.of(name), name} for name in members(n)]
    for _ in range(20):
        dropped = {*generator.choice(members(n), -(-n // 20), replace=False).tolist()}
        assert all(len(group - dropped) >= graph.threshold(n) for group in holders)


@settings(max_examples=100)
@given(st.integers(1, 40), st.data())
def test_ways_are_those_of_the_hypergeometric_distribution(n, data):
    marked, drawn = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    hits = data.draw(st.integers(0, drawn))
    share = Fraction(graph._ways(n, marked, drawn, hits), comb(n, drawn))
    assert float(share) == pytest.approx(hypergeom(n, marked, drawn).pmf(hits), abs=1e-12)
