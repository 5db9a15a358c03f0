import numpy as np
import pytest

from federation import distances
from federation.distances import kernel_exact
from federation.distances.kernel_exact import exact_mmd
from federation.errors import FingerprintError, SpaceError
from federation.kernels import KERNELS
from federation.sketches import MeanEmbeddingSketch
from federation.sketches.random_features import RandomFeatures

POINT, NEXT = np.zeros((1, 3)), np.eye(1, 3)
CLOSED_FORM = 2 * (1 - 0.05 / 1.05)


def approximate(name, x, y, kernel, bandwidth, n_random=2**13, seed=0):
    zero = MeanEmbeddingSketch.zero(RandomFeatures(x.shape[1], kernel, bandwidth, n_random, seed))
    return distances.get(name).matrix([zero.update(x)], [zero.update(y)])[0, 0]


def by_loops(x, y, k, unbiased):
    def mean(a, b, skip):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return np.mean([k(((a[i] - b[j]) ** 2).sum()) for i, j in pairs])

    return mean(x, x, unbiased) + mean(y, y, unbiased) - 2 * mean(x, y, False)


def test_two_points_at_distance_one_by_the_published_cauchy_kernel():
    assert pytest.approx(1.904762, abs=1e-6) == CLOSED_FORM
    assert exact_mmd(POINT, NEXT, "cauchy", 0.05, unbiased=False) == pytest.approx(CLOSED_FORM, abs=1e-14)


@pytest.mark.parametrize("name", ["mmd", "mmd-unbiased"])
def test_random_features_reproduce_two_points_within_their_error(name):
    # 2(1 − mean of m cosines): the standard error of m = 4,096 is at most 2/√(2m) = 0.022.
    assert approximate(name, POINT, NEXT, "cauchy", 0.05) == pytest.approx(CLOSED_FORM, abs=0.066)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(
    ("kernel", "k"),
    [("gaussian", lambda r2: np.exp(-r2 / 6)), ("cauchy", lambda r2: 3 / (3 + r2))],
)
def test_exact_mmd_is_its_definition(kernel, k, unbiased, monkeypatch):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(9, 4)), random.normal(0.5, 1, (6, 4))
    expected = by_loops(x, y, k, unbiased)
    assert exact_mmd(x, y, kernel, 3.0, unbiased=unbiased) == pytest.approx(expected, abs=1e-13)
    monkeypatch.setattr(kernel_exact, "CHUNK", 4)
    assert exact_mmd(x, y, kernel, 3.0, unbiased=unbiased) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("name", "unbiased"), [("mmd", False), ("mmd-unbiased", True)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_mean_embeddings_converge_to_the_exact_discrepancy(kernel, name, unbiased):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(80, 5)), random.normal(0.4, 1, (50, 5))
    exact = exact_mmd(x, y, kernel, 10.0, unbiased=unbiased)

    def error(n_random):
        found = [approximate(name, x, y, kernel, 10.0, n_random, seed) for seed in range(6)]
        return np.sqrt(np.mean((np.array(found) - exact) ** 2)) / exact

    assert error(4096) < 0.07
    assert error(64) > 3 * error(4096)


def test_the_average_over_many_draws_of_frequencies_is_the_exact_value():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 3)), random.normal(0.4, 1, (12, 3))
    found = [approximate("mmd-unbiased", x, y, "cauchy", 4.0, 512, seed) for seed in range(60)]
    standard_error = np.std(found) / np.sqrt(len(found))
    exact = exact_mmd(x, y, "cauchy", 4.0)
    assert np.mean(found) == pytest.approx(exact, abs=4 * standard_error)


def test_the_biased_estimate_makes_small_tasks_look_far_and_the_unbiased_one_does_not():
    random = np.random.default_rng(0)
    big = random.normal(size=(400, 8))
    small = [random.normal(size=(10, 8)) for _ in range(40)]
    biased, unbiased = (
        np.mean([approximate(name, x, big, "gaussian", 16.0, 512) for x in small])
        for name in ("mmd", "mmd-unbiased")
    )
    assert biased > 0.03
    assert unbiased == pytest.approx(0, abs=0.005)


def test_the_unbiased_estimate_of_a_task_with_itself_is_negative():
    x = np.random.default_rng(0).normal(size=(30, 3))
    assert approximate("mmd-unbiased", x, x, "cauchy", 3.0) < 0
    assert approximate("mmd", x, x, "cauchy", 3.0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), "sample x of shape \\[1, 3\\]"),
        (np.zeros((4, 3)), np.zeros(3), "sample y of shape \\[3\\]"),
        (np.zeros((4, 3)), np.full((4, 3), np.nan), "sample y"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "3 and 2 features"),
    ],
)
def test_bad_samples_are_refused(x, y, message):
    with pytest.raises(FingerprintError, match=message):
        exact_mmd(x, y, "cauchy", 1.0)


def test_an_impossible_bandwidth_is_refused():
    with pytest.raises(SpaceError, match="no positive number"):
        exact_mmd(np.zeros((2, 1)), np.zeros((2, 1)), "cauchy", 0.0)
