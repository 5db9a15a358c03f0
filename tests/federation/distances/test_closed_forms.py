"""Values that can be worked out by hand."""

import numpy as np
import pytest

from federation import distances
from federation.sketches import HistogramSketch


def one_hot(bin_, n_bins):
    return HistogramSketch(np.eye(n_bins, dtype=np.int64)[[bin_]] * 9)


def value(name, source, target):
    return distances.get(name).matrix([source], [target])[0, 0]


@pytest.mark.parametrize(
    ("name", "n_bins", "itself", "disjoint"),
    [
        ("bkld-small", 100, 3.62220705, 4.62220705),
        ("bkld-large", 100, 3.62220705, 4.62220705),
        ("bkld-large", 1000, 5.90947, 6.90947),
        ("bkld-large-source", 1000, 5.90947, 6.90947),
    ],
)
def test_bkld_of_one_hot_histograms(name, n_bins, itself, disjoint):
    assert value(name, one_hot(3, n_bins), one_hot(3, n_bins)) == pytest.approx(itself, abs=5e-6)
    assert value(name, one_hot(3, n_bins), one_hot(4, n_bins)) == pytest.approx(disjoint, abs=5e-6)
    # Bins have no neighbourhood: a spike next door is as far as one at the other end.
    assert value(name, one_hot(3, n_bins), one_hot(n_bins - 1, n_bins)) == pytest.approx(disjoint, abs=5e-6)


def test_bkld_of_two_uniform_histograms_is_zero():
    uniform = HistogramSketch(np.full((2, 100), 5))
    assert value("bkld-large", uniform, uniform) == pytest.approx(0, abs=1e-12)


def test_bkld_is_an_entropy_an_inner_product_and_a_normaliser():
    random = np.random.default_rng(0)
    s, t = (HistogramSketch(random.multinomial(500, random.dirichlet(np.ones(100)))[None]) for _ in range(2))
    h_s, h_t = s.frequencies()[0], t.frequencies()[0]
    kept = h_t[h_t > 0]
    identity = (kept * np.log(kept)).sum() - h_t @ h_s + np.log(np.exp(h_s).sum())
    assert value("bkld-large", s, t) == pytest.approx(identity, abs=1e-12)


@pytest.mark.parametrize("shift", [1, 3, 40])
def test_moving_everything_by_bins_costs_as_many_for_emd_and_cramer(shift):
    assert value("emd", one_hot(5, 100), one_hot(5 + shift, 100)) == pytest.approx(shift)
    assert value("cramer", one_hot(5, 100), one_hot(5 + shift, 100)) == pytest.approx(shift)


def test_disjoint_histograms_are_log_2_apart_by_js_and_2_by_squared_l2():
    assert value("js", one_hot(0, 10), one_hot(9, 10)) == pytest.approx(np.log(2), abs=1e-12)
    assert value("l2", one_hot(0, 10), one_hot(9, 10)) == pytest.approx(2)


def test_kld_clipped_charges_most_for_a_target_outside_the_source():
    wide = HistogramSketch(np.array([[50, 50, 0, 0]]))
    narrow = HistogramSketch(np.array([[100, 0, 0, 0]]))
    assert value("kld-clipped", wide, narrow) == pytest.approx(np.log(2), abs=3e-3)
    assert value("kld-clipped", narrow, wide) == pytest.approx(
        np.log(0.5 / 1e-4) / 2 - np.log(2) / 2, abs=3e-3
    )


def test_bkld_ranks_a_spike_at_the_mode_before_the_target_itself():
    counts = np.zeros((1, 100), dtype=np.int64)
    counts[0, :8] = [30, 10, 10, 10, 10, 10, 10, 10]
    target = HistogramSketch(counts)
    values = distances.get("bkld-large").matrix(
        [HistogramSketch(one_hot(b, 100).counts[:1]) for b in (0, 1)] + [target], [target]
    )[:, 0]
    assert list(np.argsort(values)) == [0, 2, 1]


def test_disjoint_histograms_share_nothing_by_l1_and_cosine():
    assert value("l1", one_hot(0, 10), one_hot(9, 10)) == pytest.approx(2)
    assert value("cosine", one_hot(0, 10), one_hot(9, 10)) == pytest.approx(1)


def test_cosine_is_one_minus_the_cosine_of_the_angle():
    half = HistogramSketch(np.array([[5, 5, 0, 0]]))
    assert value("cosine", half, HistogramSketch(np.array([[7, 0, 0, 0]]))) == pytest.approx(1 - np.sqrt(0.5))
