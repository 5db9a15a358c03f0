"""What every distance of moments and mean embeddings must keep; a new entry is picked up by itself."""

from dataclasses import replace

import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space

from federation import distances
from federation.errors import FingerprintError, SpaceMismatchError
from federation.sketches import HistogramSketch, MeanEmbeddingSketch, MomentSketch
from federation.sketches.random_features import RandomFeatures

N_FEATURES = 6
ZEROS = {
    "moments": MomentSketch.zero(N_FEATURES),
    "mean-embedding": MeanEmbeddingSketch.zero(RandomFeatures(N_FEATURES, "cauchy", 2.0, 64)),
}
NAMES = [name for name in distances.names() if distances.get(name).needs in ZEROS]

every_distance = pytest.mark.parametrize("name", NAMES)


def features(seed, n=60):
    random = np.random.default_rng(seed)
    return random.gamma(random.uniform(0.3, 2, N_FEATURES), 1, (n, N_FEATURES))


def tasks_of(name, *samples):
    zero = ZEROS[distances.get(name).needs]
    return [zero.update(np.asarray(x)) for x in samples]


def matrix(name, sources, targets):
    return distances.get(name).matrix(sources, targets)


def odd_samples():
    one_image, constant = features(1, n=1), np.repeat(features(2, n=1), 9, axis=0)
    zero, far = np.zeros((5, N_FEATURES)), features(3) + 900
    alive, dead = np.eye(1, N_FEATURES), np.eye(1, N_FEATURES, 1)
    return [one_image, constant, zero, far, alive, dead, features(4), -features(5), features(6) - 1]


@every_distance
def test_rows_are_sources_and_columns_are_targets(name):
    tasks = tasks_of(name, *(features(i) for i in range(5)))
    found = matrix(name, tasks[:3], tasks)
    assert (found.shape, found.dtype) == ((3, 5), np.float64)
    assert found[1, 4] == pytest.approx(matrix(name, [tasks[1]], [tasks[4]])[0, 0], abs=1e-12)


@every_distance
def test_the_distance_to_itself_is_as_declared(name):
    tasks = tasks_of(name, *(features(i) for i in range(4)), features(9) * 50)
    diagonal = np.diag(matrix(name, tasks, tasks))
    if distances.get(name).zero_self:
        scale = 50**2 if name == "fid" else 1
        np.testing.assert_allclose(diagonal, 0, atol=1e-10 * scale)
    else:
        assert (np.abs(diagonal) > 1e-3).all()


@every_distance
def test_symmetry_is_as_declared(name):
    a, b = tasks_of(name, features(1, 20), features(2) ** 2)
    there, back = matrix(name, [a], [b])[0, 0], matrix(name, [b], [a])[0, 0]
    if distances.get(name).symmetric:
        assert there == pytest.approx(back, abs=1e-12)
    else:
        assert abs(there - back) > 1e-3


@every_distance
def test_values_are_finite_for_odd_tasks_and_not_negative_where_declared(name):
    tasks = tasks_of(name, *odd_samples())
    found = matrix(name, tasks, tasks)
    assert np.isfinite(found).all()
    assert bool((found >= 0).all()) >= distances.get(name).non_negative
    if distances.get(name).zero_self:
        np.testing.assert_allclose(np.diag(found), 0, atol=1e-7)


@every_distance
def test_a_new_task_gives_the_row_and_column_of_the_full_matrix(name, monkeypatch):
    monkeypatch.setattr("federation.distances.gaussian.HELD", 2)
    tasks = tasks_of(name, *(features(i, n=20 + i) for i in range(7)))
    full = matrix(name, tasks, tasks)
    np.testing.assert_allclose(matrix(name, tasks[6:], tasks), full[6:], atol=1e-11)
    np.testing.assert_allclose(matrix(name, tasks, tasks[6:]), full[:, 6:], atol=1e-11)
    np.testing.assert_allclose(matrix(name, tasks, list(map(replace, tasks))), full, atol=1e-11)


@every_distance
def test_the_order_of_features_does_not_matter_to_moments(name):
    if distances.get(name).needs != "moments":
        pytest.skip("other frequencies meet other features")
    order = np.random.default_rng(0).permutation(N_FEATURES)
    a, b = features(1), features(2)
    plain, moved = tasks_of(name, a, b), tasks_of(name, a[:, order], b[:, order])
    assert matrix(name, moved[:1], moved[1:]) == pytest.approx(matrix(name, plain[:1], plain[1:]), abs=1e-10)


@every_distance
def test_counting_every_image_twice_changes_nothing_but_an_unbiased_estimate(name):
    a, b = tasks_of(name, features(1), features(2))
    once, twice = matrix(name, [a], [b]), matrix(name, [a + a], [b + b])
    if name == "mmd-unbiased":
        assert twice > once  # the copies look like new images that happen to agree
    else:
        assert twice == pytest.approx(once, abs=1e-12)


@every_distance
def test_halves_of_a_task_find_each_other(name):
    samples = [features(i, n=400) for i in range(8)]
    first = tasks_of(name, *(x[:200] for x in samples))
    second = tasks_of(name, *(x[200:] for x in samples))
    np.testing.assert_array_equal(matrix(name, first, second).argmin(axis=0), np.arange(8))


@every_distance
def test_no_tasks_give_an_empty_matrix(name):
    assert matrix(name, [], tasks_of(name, features(1))).shape == (0, 1)


@every_distance
def test_a_task_without_images_is_refused(name):
    empty = ZEROS[distances.get(name).needs]
    with pytest.raises(FingerprintError, match="of target 0 holds no images"):
        matrix(name, tasks_of(name, features(1)), [empty])


@every_distance
def test_a_sketch_of_another_kind_is_refused(name):
    histogram = HistogramSketch(np.ones((N_FEATURES, 4), dtype=np.int64))
    with pytest.raises(FingerprintError, match=r"target 0 carries no .* \(found: HistogramSketch\)"):
        matrix(name, tasks_of(name, features(1)), [histogram])


@every_distance
def test_sketches_with_other_parameters_are_refused(name):
    others = {
        "moments": MomentSketch.zero(N_FEATURES, clip=3.0),
        "mean-embedding": MeanEmbeddingSketch.zero(RandomFeatures(N_FEATURES, "cauchy", 2.5, 64)),
    }
    other = others[distances.get(name).needs].update(features(1))
    with pytest.raises(SpaceMismatchError, match=r"source 0 and target 0 have different parameters"):
        matrix(name, tasks_of(name, features(1)), [other])


@every_distance
def test_fingerprints_are_compared_through_their_sketches(name, tmp_path):
    identity, space = make_identity("a", tmp_path), make_space()
    kind, sketches = distances.get(name).needs, tasks_of(name, features(1), features(2))
    prints = [
        replace(make_fingerprint(identity, f"t{i}", space), sketches={kind: sketch})
        for i, sketch in enumerate(sketches)
    ]
    np.testing.assert_array_equal(matrix(name, prints, prints), matrix(name, sketches, sketches))
    bare = make_fingerprint(identity, "bare", space)
    with pytest.raises(FingerprintError, match=f"a/bare carries no {kind} sketch"):
        matrix(name, prints, [bare])
    elsewhere = replace(prints[0], space_id="00" * 32)
    with pytest.raises(SpaceMismatchError, match="lives in space"):
        matrix(name, prints[1:], [elsewhere])


@every_distance
def test_sums_that_noise_made_impossible_give_finite_values(name):
    noisy = []
    for i, task in enumerate(tasks_of(name, *(features(i) for i in range(4)))):
        vector = task.to_vector()
        noise = np.random.default_rng(i).normal(0, vector.std(), vector.shape)
        noise[0] = 0
        noisy.append(task.from_vector(vector + np.rint(noise).astype(np.int64)))
    found = matrix(name, noisy, noisy)
    assert np.isfinite(found).all()
