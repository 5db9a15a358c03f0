"""Entropic transport between histograms, against other ways of computing it."""

import numpy as np
import pytest
from scipy.optimize import linprog

from federation import distances
from federation.distances.sinkhorn import SINKHORN, entropic_costs
from federation.sketches import HistogramSketch


def random_shares(seed, n, n_bins):
    return np.random.default_rng(seed).dirichlet(np.full(n_bins, 0.3), n)


def costs(n_bins):
    return np.abs(np.subtract.outer(np.arange(n_bins), np.arange(n_bins))).astype(float)


def one_hot(bin_, n_bins):
    return HistogramSketch(np.eye(n_bins, dtype=np.int64)[[bin_]] * 9)


def test_entropic_costs_are_those_of_the_python_optimal_transport_library():
    ot = pytest.importorskip("ot")
    a, b = random_shares(0, 5, 12), random_shares(1, 5, 12)
    found = entropic_costs(a, b, 1.5, 1e-10)
    for x, y, cost in zip(a, b, found, strict=True):
        plan = ot.sinkhorn(x, y, costs(12), 1.5, stopThr=1e-12, numItermax=10_000)
        divergence = (plan * np.log(plan / np.outer(x, y))).sum()
        assert cost == pytest.approx((plan * costs(12)).sum() + 1.5 * divergence, abs=1e-8)


def test_entropic_costs_approach_the_linear_program_from_above():
    a, b = random_shares(2, 1, 8), random_shares(3, 1, 8)
    rows = np.kron(np.eye(8), np.ones(8))
    columns = np.kron(np.ones(8), np.eye(8))
    exact = linprog(costs(8).ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a[0], b[0]])).fun
    found = [entropic_costs(a, b, eps, 1e-9)[0] for eps in (2.0, 0.5, 0.1)]
    assert found[0] > found[1] > found[2] > exact
    assert found[2] == pytest.approx(exact, abs=0.2)
    assert exact == pytest.approx(np.abs(np.cumsum(a - b)).sum())


@pytest.mark.parametrize(("n_bins", "shift"), [(20, 7), (100, 40), (1000, 400)])
def test_moving_everything_by_whole_merged_bins_costs_as_many_bins(n_bins, shift):
    found = SINKHORN.matrix([one_hot(0, n_bins)], [one_hot(shift, n_bins)])[0, 0]
    assert found == pytest.approx(shift, abs=1e-9)


def test_a_move_within_a_merged_bin_is_not_seen():
    assert SINKHORN.matrix([one_hot(0, 100)], [one_hot(3, 100)])[0, 0] == pytest.approx(0, abs=1e-12)
    assert SINKHORN.matrix([one_hot(0, 100)], [one_hot(4, 100)])[0, 0] == pytest.approx(4, abs=1e-9)


def test_it_lies_below_the_earth_movers_distance_and_ranks_alike():
    tasks = [
        HistogramSketch(np.random.default_rng(i).multinomial(500, p))
        for i, p in enumerate(random_shares(4, 8, 20))
        for p in [np.tile(p, (3, 1))]
    ]
    emd, sinkhorn = (distances.get(name).matrix(tasks, tasks) for name in ("emd", "sinkhorn"))
    assert (sinkhorn <= emd + 1e-9).all()
    pairs = np.triu_indices(8, 1)
    assert np.corrcoef(emd[pairs], sinkhorn[pairs])[0, 1] > 0.95


def test_it_is_computed_on_demand_only(tmp_path):
    from factories import make_space

    space = make_space()
    assert "sinkhorn" not in distances.available(space)
    assert "sinkhorn" in distances.available(space, "sinkhorn")
