import json
from dataclasses import replace

import numpy as np
import pytest

from federation.distances.divergence import BKLD_LARGE
from federation.sketches import HistogramSketch
from federation.space import equal_width_edges

WEIGHTINGS = {"unweighted": "uniform", "target_softmax": "target", "source_norm": "source"}


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "reference/golden/bkld_golden.json").read_text())


@pytest.fixture(scope="module")
def features(shared):
    with np.load(shared / "reference/golden/bkld_golden_features.npz") as arrays:
        return dict(arrays)


def sketches(golden, features, n_bins):
    edges = equal_width_edges(np.array(golden["lo"]), np.array(golden["hi"]), n_bins)
    return {name: HistogramSketch.from_features(x, edges, exact_means=True) for name, x in features.items()}


@pytest.mark.reference
@pytest.mark.parametrize("n_bins", [100, 1000])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_bkld_equals_the_published_code_on_the_golden_pairs(golden, features, n_bins, weighting):
    tasks = sketches(golden, features, n_bins)
    distance = replace(BKLD_LARGE, weighting=WEIGHTINGS[weighting], n_bins=n_bins)
    found = distance.matrix(list(tasks.values()), list(tasks.values()))
    expected = [[golden["values"][f"{s}->{t}|{n_bins}|{weighting}"] for t in tasks] for s in tasks]
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


@pytest.mark.reference
def test_the_golden_file_holds_54_values(golden):
    assert len(golden["values"]) == 54


@pytest.mark.reference
@pytest.mark.parametrize("n_bins", [100, 1000])
def test_binning_agrees_with_torch_histc_on_the_golden_features(golden, features, n_bins):
    torch = pytest.importorskip("torch")
    low, high = np.float32(golden["lo"]), np.float32(golden["hi"])
    for name, sketch in sketches(golden, features, n_bins).items():
        x = torch.from_numpy(np.clip(features[name], low, high))
        columns = [
            torch.histc(x[:, f], n_bins, float(low[f]), float(high[f])).numpy() for f in range(x.shape[1])
        ]
        np.testing.assert_array_equal(sketch.counts, np.array(columns))
