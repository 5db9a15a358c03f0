"""Distances between Fisher embeddings: published values, closed forms, and the contract of the registry."""

import json
from dataclasses import replace

import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space
from scipy.spatial.distance import cosine

from federation import distances
from federation.errors import FingerprintError, SpaceMismatchError
from federation.sketches import FisherSketch, HistogramSketch
from federation.sketches.fisher_layout import LayerShape, Layout
from federation.sketches.fisher_parameters import FisherParameters

NAMES = [name for name in distances.names() if distances.get(name).needs == "fisher"]
N_FILTERS = 40
FILTERS = FisherParameters(Layout((LayerShape("conv", 30, 1), LayerShape("bn", 10, 1))))
KERNEL = replace(FILTERS, granularity="kernel", layout=Layout((LayerShape("conv", N_FILTERS, 3),)))

every_distance = pytest.mark.parametrize("name", NAMES)


def sketch(values, parameters=FILTERS):
    return FisherSketch.zero(parameters).update(np.atleast_2d(values))


def random_sketch(seed, n=5):
    random = np.random.default_rng(seed)
    return sketch(random.gamma(random.uniform(0.1, 1, N_FILTERS), 1e-3, (n, N_FILTERS)))


def odd_sketches():
    one_image, nothing = random_sketch(1, n=1), sketch(np.zeros(N_FILTERS))
    spike, other = np.eye(N_FILTERS)[:2]
    tiny, flat = np.full(N_FILTERS, 2.0**-40), np.ones(N_FILTERS)
    return [one_image, nothing, *map(sketch, (spike, other, tiny, flat)), random_sketch(2)]


def matrix(name, sources, targets):
    return distances.get(name).matrix(sources, targets)


def between(name, a, b):
    return matrix(name, [sketch(a)], [sketch(b)])[0, 0]


@pytest.mark.reference
def test_fed_equals_the_published_unit_value(shared):
    vector = json.loads((shared / "reference/golden/fed_unit_test_vector.json").read_text())
    a = {name: np.array(values) for name, values in vector["fim_a"].items()}
    b = {"mod0": a["mod0"] + 1, "mod1": 2 * a["mod1"], "mod2": a["mod2"] ** 2}
    first, second = (np.concatenate([fim[name].ravel() for name in sorted(a)]) for fim in (a, b))
    layout = Layout((LayerShape("all", len(first), 1),))
    pair = [sketch(fim, FisherParameters(layout, scale_bits=50)) for fim in (first, second)]
    found = matrix("fed", pair[:1], pair[1:])[0, 0]
    assert found == pytest.approx(vector["expected_float64"], abs=1e-12)
    assert found == pytest.approx(vector["expected_float32"], abs=1e-7)


@every_distance
def test_all_pairs_agree_with_the_formula_written_down_for_one_pair(name):
    tasks = [random_sketch(i) for i in range(7)]

    def normalised(a, b, eps):
        return cosine(a / (a + b + eps), b / (a + b + eps))

    def expected(a, b):
        if name == "fed":
            return cosine(a, b)
        relative = normalised(a, b, 1e-8 * (a.mean() + b.mean()) / 2)
        trivial = np.full_like(a, a.mean())
        return {
            "task2vec": relative,
            "task2vec-published": normalised(a, b, 1e-8),
            "task2vec-asymmetric": relative - 0.15 * normalised(a, trivial, 1e-8 * a.mean()),
        }[name]

    wanted = [[expected(s.embedding(), t.embedding()) for t in tasks] for s in tasks]
    np.testing.assert_allclose(matrix(name, tasks, tasks), wanted, atol=1e-12)


@every_distance
def test_blocks_do_not_change_the_result(name, monkeypatch):
    tasks = [random_sketch(i) for i in range(9)]
    whole = matrix(name, tasks, tasks)
    for constant, value in {"BLOCK": 30, "_SIDE": 2, "_LENGTH": 7}.items():
        monkeypatch.setattr(f"federation.distances.fisher.{constant}", value)
    np.testing.assert_allclose(matrix(name, tasks, tasks), whole, atol=1e-12)


@every_distance
def test_a_new_task_gives_the_row_and_column_of_the_full_matrix(name):
    tasks = [random_sketch(i) for i in range(6)]
    full = matrix(name, tasks, tasks)
    assert (full.shape, full.dtype) == ((6, 6), np.float64)
    np.testing.assert_allclose(matrix(name, tasks[5:], tasks), full[5:], atol=1e-12)
    np.testing.assert_allclose(matrix(name, tasks, tasks[5:]), full[:, 5:], atol=1e-12)


@every_distance
def test_self_distance_symmetry_and_sign_are_as_declared(name):
    distance, tasks = distances.get(name), [random_sketch(i) for i in range(6)]
    found = matrix(name, tasks, tasks)
    assert (np.abs(np.diag(found)).max() < 1e-10) == distance.zero_self
    assert (np.abs(found - found.T).max() < 1e-12) == distance.symmetric
    assert (found.min() >= 0) == distance.non_negative


@every_distance
def test_values_are_finite_and_at_most_one_for_odd_embeddings(name):
    tasks = odd_sketches()
    found = matrix(name, tasks, tasks)
    assert np.isfinite(found).all()
    assert (np.abs(found) <= 1 + 1e-12).all()


@every_distance
def test_the_order_of_filters_does_not_matter(name):
    order = np.random.default_rng(0).permutation(N_FILTERS)
    a, b = random_sketch(1).embedding(), random_sketch(2).embedding()
    assert between(name, a[order], b[order]) == pytest.approx(between(name, a, b), abs=1e-12)


@every_distance
def test_counting_every_image_twice_changes_nothing(name):
    a, b = random_sketch(1), random_sketch(2)
    assert matrix(name, [a + a], [b + b]) == pytest.approx(matrix(name, [a], [b]), abs=1e-12)


@pytest.mark.parametrize("name", ["fed", "task2vec", "task2vec-published"])
def test_disjoint_embeddings_are_at_distance_one(name):
    a = random_sketch(1).embedding()
    left, right = np.where(np.arange(N_FILTERS) < 20, a, 0), np.where(np.arange(N_FILTERS) < 20, 0, a)
    assert between(name, left, right) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", ["fed", "task2vec", "task2vec-published"])
def test_proportional_embeddings_are_at_distance_zero(name):
    a = random_sketch(1).embedding()
    assert between(name, a, 64 * a) == pytest.approx(0, abs=1e-10)


def test_the_published_epsilon_hides_differences_between_small_filters():
    a = np.array([*[2.0**-36] * 20, *[2.0**-10] * 20])
    b = np.where(np.arange(N_FILTERS) < 20, 16 * a, a)
    assert between("task2vec-published", a, b) < 1e-3
    assert between("task2vec", a, b) > 0.1


def test_raw_cosine_does_not_depend_on_the_scale_of_either_task():
    a, b = random_sketch(1).embedding(), random_sketch(2).embedding()
    assert between("fed", 8 * a, b) == pytest.approx(between("fed", a, b), abs=1e-9)


def test_normalised_cosine_depends_on_the_relative_scale_only():
    a, b = random_sketch(1).embedding(), random_sketch(2).embedding()
    assert between("task2vec", 8 * a, 8 * b) == pytest.approx(between("task2vec", a, b), abs=1e-9)
    assert abs(between("task2vec", 8 * a, b) - between("task2vec", a, b)) > 1e-3


def test_the_asymmetry_is_the_difference_of_distances_to_the_trivial_embedding():
    tasks = [random_sketch(i) for i in range(4)]
    flat = [sketch(np.full(N_FILTERS, task.embedding().mean())) for task in tasks]
    trivial = np.array(
        [matrix("task2vec", [task], [level])[0, 0] for task, level in zip(tasks, flat, strict=True)]
    )
    found = matrix("task2vec-asymmetric", tasks, tasks)
    np.testing.assert_allclose(found - found.T, -0.15 * (trivial[:, None] - trivial[None]), atol=1e-8)


def test_task2vec_of_fed_sketches_compares_means_over_inputs():
    random = np.random.default_rng(0)
    kernels = [sketch(random.gamma(0.5, 1e-3, N_FILTERS * 3), KERNEL) for _ in range(3)]
    filters = [sketch(one.filter_embedding()) for one in kernels]
    found, expected = matrix("task2vec", kernels, kernels), matrix("task2vec", filters, filters)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@every_distance
def test_sums_that_noise_made_negative_give_finite_values(name):
    noisy = [replace(task, sums=task.sums - int(task.sums.mean())) for task in map(random_sketch, range(4))]
    assert (noisy[0].sums < 0).any()
    assert np.isfinite(matrix(name, noisy, noisy)).all()


@every_distance
def test_sums_near_the_limit_of_64_bits_give_finite_values(name):
    large = [replace(random_sketch(i), sums=np.arange(1, N_FILTERS + 1) * 2**57) for i in range(2)]
    assert matrix(name, large[:1], large[1:])[0, 0] == pytest.approx(
        matrix(name, large[:1], large[:1])[0, 0], abs=1e-12
    )


@every_distance
def test_what_cannot_be_compared_is_refused(name, tmp_path):
    task = random_sketch(1)
    with pytest.raises(FingerprintError, match="target 0 holds no images"):
        matrix(name, [task], [FisherSketch.zero(FILTERS)])
    with pytest.raises(SpaceMismatchError, match="different parameters"):
        matrix(name, [task], [replace(task, parameters_of_space=replace(FILTERS, seed=1))])
    with pytest.raises(FingerprintError, match="source 0 carries no fisher sketch"):
        matrix(name, [HistogramSketch(np.ones((2, 2), int))], [task])
    bare = make_fingerprint(make_identity("a", tmp_path), "x", make_space())
    with pytest.raises(FingerprintError, match="a/x carries no fisher sketch"):
        matrix(name, [task], [bare])


@every_distance
def test_fingerprints_are_compared_through_their_fisher_sketches(name, tmp_path):
    identity, space = make_identity("a", tmp_path), make_space()
    prints = [
        replace(make_fingerprint(identity, f"t{i}", space), sketches={"fisher": random_sketch(i)})
        for i in range(3)
    ]
    own = [one.sketches["fisher"] for one in prints]
    np.testing.assert_array_equal(matrix(name, prints, prints), matrix(name, own, own))
    moved = replace(prints[1], space_id="00" * 32)
    with pytest.raises(SpaceMismatchError, match=r"a/t0 lives in space .* and a/t1 in space"):
        matrix(name, prints[:1], [moved])


@every_distance
def test_no_tasks_give_an_empty_matrix(name):
    assert matrix(name, [], [random_sketch(1)]).shape == (0, 1)
