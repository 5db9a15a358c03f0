"""Distances of noisy embeddings, moments and Fisher sums: finite, and right on average where said."""

from fractions import Fraction

import numpy as np
import pytest

from federation import distances
from federation.errors import FingerprintError
from federation.privacy.mechanism import add_noise
from federation.sketches import FisherSketch, MeanEmbeddingSketch, MomentSketch
from federation.sketches.fisher_layout import LayerShape, Layout
from federation.sketches.fisher_parameters import FisherParameters
from federation.sketches.random_features import RandomFeatures

LAYOUT = Layout((LayerShape("a", 60, 1),))
FISHER = FisherParameters(LAYOUT, clip=2.0, scale_bits=9, head="public")
ZEROS = {
    "fisher": FisherSketch.zero(FISHER),
    "mean-embedding": MeanEmbeddingSketch.zero(RandomFeatures(60, "cauchy", 20.0, 64, amplitude=64)),
    "moments": MomentSketch.zero(60, step=2.0**-6, clip=6.0),
}
FIRST = MomentSketch.zero(60, step=2.0**-6, clip=6.0, order=1)
ALL = [name for name in distances.names() if distances.get(name).needs in ZEROS]


def noisy(sketch, rho):
    found = add_noise({sketch.kind: sketch}, Fraction(rho)).sketches[sketch.kind]
    zero = FIRST if sketch == FIRST or getattr(sketch, "order", 2) == 1 else ZEROS[sketch.kind]
    parameters = {
        "fisher": "parameters_of_space",
        "mean-embedding": "random_features",
    }.get(sketch.kind)
    names = (parameters,) if parameters else ("step", "clip")
    return type(found)(**{**vars(found), **{name: getattr(zero, name) for name in names}})


def tasks(kind, n=80):
    shapes = np.random.default_rng(0).uniform(0.05, 0.6, (3, 60))
    draws = [np.random.default_rng(i).gamma(shape, 0.4, (n, 60)) for i, shape in enumerate(shapes)]
    return [ZEROS[kind].update(x) for x in draws]


@pytest.mark.parametrize("name", ALL)
def test_distances_of_very_noisy_sketches_are_finite(name):
    exact = tasks(distances.get(name).needs)
    for _ in range(3):
        drowned = [noisy(sketch, "1/4000") for sketch in exact]
        kept = [sketch for sketch in drowned if sketch.n >= 1]
        assert any((sketch.to_vector() < 0).any() for sketch in drowned)
        assert np.isfinite(distances.get(name).matrix(kept, kept)).all()


@pytest.mark.parametrize("name", ["mmd", "mmd-unbiased", "fed"])
def test_what_noise_adds_is_subtracted(name):
    distance = distances.get(name)
    exact = tasks(distance.needs)
    expected = distance.matrix(exact[:1], exact[1:])
    draws = [
        distance.matrix(*([noisy(s, "1/2") for s in part] for part in (exact[:1], exact[1:])))
        for _ in range(150)
    ]
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert (np.abs(np.mean(draws, axis=0) - expected) < 5 * error + 0.02 * expected).all()


@pytest.mark.parametrize("name", ["mmd", "fed"])
def test_a_noisy_sketch_is_at_distance_zero_from_itself(name):
    found = [noisy(sketch, "1/10") for sketch in tasks(distances.get(name).needs)]
    np.testing.assert_allclose(np.diag(distances.get(name).matrix(found, found)), 0, atol=1e-12)


def test_first_moments_are_compared_by_their_means_only():
    x = np.random.default_rng(0).gamma(0.3, 0.4, (60, 60))
    pair = [noisy(FIRST.update(part), "1/2") for part in (x[:30], x[30:])]
    assert np.isfinite(distances.get("kld-mean-target").matrix(pair, pair)).all()
    with pytest.raises(FingerprintError, match="order 1 has means and no covariance"):
        distances.get("fid").matrix(pair, pair)


def test_a_task_whose_number_of_images_noise_hides_is_refused():
    drowned = FisherSketch(np.zeros(60, np.int64), -3, FISHER, {"n_images": 100, "sums": 100})
    with pytest.raises(FingerprintError, match="noise hides how many"):
        distances.get("fed").matrix([drowned], [drowned])
