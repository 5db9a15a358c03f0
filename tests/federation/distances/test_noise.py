"""What is said of noise in squared distances, held against many draws of it."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from factories import make_features, make_space
from randomness import stream

from federation import distances
from federation.distances.base import Distance
from federation.distances.noise import NoisyTask
from federation.privacy.mechanism import add_noise
from federation.sketches import CdfSketch, HistogramSketch, decode_sketch, encode_arrays, kind
from federation.space import edges_from_reference

REFERENCE = make_features(0, 400)
RHO = Fraction(1, 20)
DRAWS = 600
NAMES = ("cdf-l2", "l2", "cramer")
every_distance = pytest.mark.parametrize("name", NAMES)


@cache
def space_of(name, n_bins=4):
    kind_name = distances.get(name).needs
    edges = edges_from_reference(REFERENCE, n_bins, "skewed")
    sketches = {kind_name: kind(kind_name).parameters(REFERENCE, edges)}
    return replace(make_space(n_bins), edges=edges, sketches=sketches)


def task(name, seed=1, shift=0.0, n=500, n_bins=4):
    space = space_of(name, n_bins)
    return kind(distances.get(name).needs).for_space(space).update(make_features(seed, n, shift))


def noisy(sketch, randomness, rho=RHO):
    release = add_noise({sketch.kind: sketch}, rho, 1, randomness).sketches[sketch.kind]
    n_bins = sketch.n_bins if isinstance(sketch, HistogramSketch) else 4
    return release.bind(space_of("l2" if isinstance(sketch, HistogramSketch) else "cdf-l2", n_bins))


def drawn(name, source, target, seed, noisy_target=True, rho=RHO):
    """Debiased distances of many noisy releases of the same two tasks."""
    randomness = stream(seed)
    sources = [noisy(source, randomness, rho) for _ in range(DRAWS)]
    targets = [noisy(target, randomness, rho) if noisy_target else target for _ in range(DRAWS)]
    pairs = zip(sources, targets, strict=True)
    return np.array([distances.get(name).matrix([s], [t])[0, 0] for s, t in pairs]), sources[0], targets[0]


def predicted(name, value, source, target):
    model = distances.get(name).noise_model
    sides = [NoisyTask(side.noise, side.n) for side in (source, target)]
    return model.standard_errors(source, np.array([[value]]), sides[:1], sides[1:])[0, 0]


def assert_unbiased(found, exact):
    assert abs(found.mean() - exact) <= 3.5 * found.std() / np.sqrt(len(found))


@every_distance
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.6])
def test_debiased_distances_are_right_on_average(name, shift):
    source, target = task(name, 1), task(name, 2, shift, n=400)
    exact = distances.get(name).matrix([source], [target])[0, 0]
    assert_unbiased(drawn(name, source, target, seed=3)[0], exact)


@every_distance
def test_without_debiasing_the_distance_of_like_tasks_would_be_mostly_noise(name):
    source, target = task(name, 1), task(name, 2)
    exact = distances.get(name).matrix([source], [target])[0, 0]
    _, s, t = drawn(name, source, target, seed=3)
    model = distances.get(name).noise_model
    energies = model.energies(source, [NoisyTask.of(s), NoisyTask.of(t)])
    assert energies.sum() > exact


@every_distance
def test_a_noisy_and_an_exact_task_have_the_noise_of_one(name):
    source, target = task(name, 1), task(name, 2, 0.3)
    exact = distances.get(name).matrix([source], [target])[0, 0]
    found, s, _ = drawn(name, source, target, seed=4, noisy_target=False)
    assert_unbiased(found, exact)
    assert found.std() == pytest.approx(predicted(name, exact, s, target), rel=0.25)


@every_distance
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.6])
def test_standard_errors_are_those_of_many_draws(name, shift):
    source, target = task(name, 1), task(name, 2, shift, n=400)
    exact = distances.get(name).matrix([source], [target])[0, 0]
    found, s, t = drawn(name, source, target, seed=5)
    ratio = predicted(name, exact, s, t) / found.std()
    assert 0.87 < ratio < (1.5 if name == "cramer" else 1.15)


@every_distance
def test_a_noisy_task_is_at_distance_zero_from_itself_and_from_its_copy(name):
    release = noisy(task(name), stream(1))
    copy = decode_sketch(
        release.kind,
        encode_arrays({release.kind: release}),
        {f"{release.kind}.{array}": variance for array, variance in release.noise.items()},
    ).bind(space_of(name))
    found = distances.get(name).matrix([release, copy], [release, copy])
    np.testing.assert_allclose(found, 0, atol=1e-9)


@every_distance
def test_another_release_of_the_same_task_is_not_a_copy(name):
    a, b = (noisy(task(name), stream(seed)) for seed in (1, 2))
    assert distances.get(name).matrix([a], [b])[0, 0] != 0


@every_distance
def test_a_distance_is_the_same_alone_and_among_others(name):
    randomness = stream(7)
    tasks = [noisy(task(name, seed, n=200 + 100 * seed), randomness) for seed in range(4)] + [task(name, 9)]
    full = distances.get(name).matrix(tasks, tasks)
    np.testing.assert_allclose(full, full.T, atol=1e-12)
    for i, source in enumerate(tasks):
        assert distances.get(name).matrix([source], tasks[2:3])[0, 0] == pytest.approx(full[i, 2], abs=1e-9)


def test_sketches_of_one_and_of_two_levels_are_compared_without_bias_at_the_levels_of_both():
    x, y = make_features(1, 500), make_features(2, 500, 0.3)
    space = space_of("cdf-l2")
    known = CdfSketch.for_space(space).known
    loose = replace(known, clips=(10**4, 10**4))  # nothing is clipped: the levels are those of each other
    one, two = CdfSketch.zero(loose, 1).update(x), CdfSketch.zero(loose, 2).update(y)
    exact = distances.get("cdf-l2").matrix([one], [CdfSketch.zero(loose, 1).update(y)])[0, 0]
    assert distances.get("cdf-l2").matrix([one, two], [two, one])[0, 0] == pytest.approx(exact)
    found, _, _ = drawn("cdf-l2", one, two, seed=6, rho=Fraction(10**4))
    assert_unbiased(found, exact)


def test_more_images_and_a_larger_budget_make_distances_more_certain():
    errors = []
    for n, rho in ((200, RHO), (800, RHO), (800, 4 * RHO)):
        release = noisy(task("cdf-l2", n=n), stream(0), rho)
        errors.append(predicted("cdf-l2", 0.0, release, release))
    assert errors[0] > 14 * errors[1] > 14 * 3.5 * errors[2]


def test_exact_tasks_have_no_standard_error():
    exact = task("cdf-l2")
    assert predicted("cdf-l2", 0.3, exact, exact) == 0


@pytest.mark.parametrize("name", sorted(set(distances.names()) - set(NAMES)))
def test_a_distance_with_another_model_of_noise_says_which_array_it_is_about(name):
    distance: Distance = distances.get(name)
    assert distance.noise_model is None or distance.noise_model.array


def test_noise_that_pushes_a_distance_below_zero_does_not_make_all_sources_tie():
    tasks = [noisy(task("l2", seed, shift=seed / 5), stream(seed), Fraction(1, 200)) for seed in range(4)]
    values = distances.get("bkld-large").matrix(tasks, tasks)
    assert len(np.unique(values)) == values.size
