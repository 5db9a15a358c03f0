"""Values that can be worked out by hand, and the published reference values."""

import json

import numpy as np
import pytest

from federation import distances
from federation.sketches import HistogramSketch
from federation.space import equal_width_edges


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


@pytest.mark.reference
def test_all_golden_values_of_the_published_bkld(shared):
    golden = json.loads((shared / "reference/golden/bkld_golden.json").read_text())
    features = np.load(shared / "reference/golden/bkld_golden_features.npz")
    low, high = np.array(golden["lo"]), np.array(golden["hi"])
    sketches = {
        (task, n_bins): HistogramSketch.from_features(
            features[task], equal_width_edges(low, high, n_bins), exact_means=True
        )
        for task in features
        for n_bins in (100, 1000)
    }
    kinds = {"unweighted": "bkld-large", "target_softmax": "bkld-small", "source_norm": "bkld-large-source"}
    assert len(golden["values"]) == 54
    for key, expected in golden["values"].items():
        pair, n_bins, kind = key.split("|")
        source, target = (sketches[task, int(n_bins)] for task in pair.split("->"))
        # The golden set also has 1,000 bins with target weights, which bkld-small would merge to 100.
        distance = distances.get(kinds[kind])
        if kind == "target_softmax" and n_bins == "1000":
            distance = distance.__class__(**{**vars(distance), "n_bins": 1000})
        assert distance.matrix([source], [target])[0, 0] == pytest.approx(expected, abs=1e-6), key
