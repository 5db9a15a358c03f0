import numpy as np
import pytest
from scipy.stats import boxcox, entropy

from federation import distances
from federation.distances.mean_features import FLOOR, p2l_affinity
from federation.errors import FingerprintError
from federation.sketches import MomentSketch


def task(mean):
    return MomentSketch.zero(len(mean)).update(np.array([mean], dtype=float))


def kld(name, source, target):
    return distances.get(name).matrix([task(source)], [task(target)])[0, 0]


def test_the_two_directions_are_those_of_the_two_code_bases():
    source, target = [1.0, 2, 5], [4.0, 3, 1]
    assert kld("kld-mean-source", source, target) == pytest.approx(entropy(source, target), abs=1e-12)
    assert kld("kld-mean-target", source, target) == pytest.approx(entropy(target, source), abs=1e-12)
    assert entropy(source, target) != pytest.approx(entropy(target, source), abs=0.01)


def test_the_scale_of_the_features_does_not_matter():
    assert kld("kld-mean-target", [1, 2, 5], [8, 6, 2]) == pytest.approx(
        kld("kld-mean-target", [1, 2, 5], [4, 3, 1]), abs=1e-12
    )


def test_a_dead_feature_costs_what_the_floor_allows_and_no_more():
    expected = np.log(1 / 2) + 0.5 * np.log(1 / FLOOR)
    assert kld("kld-mean-target", [1, 0], [1, 1]) == pytest.approx(expected, rel=1e-6)
    assert kld("kld-mean-source", [1, 0], [1, 1]) == pytest.approx(np.log(2), abs=1e-8)


def test_negative_means_count_as_zero():
    assert kld("kld-mean-target", [1, 2, -3], [2, 1, -1]) == pytest.approx(
        kld("kld-mean-target", [1, 2, 0], [2, 1, 0]), abs=1e-12
    )
    assert kld("kld-mean-target", [-1, -1], [-2, -5]) == 0  # nothing left: equal shares


DISTANCES = np.array([[0.0, 0.4, 0.1], [0.5, 0.0, 0.2], [0.3, 0.9, 0.0]])


def test_p2l_is_standardised_similarity_plus_standardised_size():
    sizes = [100, 5000, 800]
    others = DISTANCES[DISTANCES > 0]
    transformed = boxcox(sizes)[0]
    size = (transformed - transformed.mean()) / transformed.std()
    expected = -1.5 * (DISTANCES[1, 2] - others.mean()) / others.std() + size[1]
    assert p2l_affinity(DISTANCES, sizes)[1, 2] == pytest.approx(expected, abs=1e-12)


def test_p2l_prefers_near_sources_and_then_large_ones():
    equal = p2l_affinity(DISTANCES, [7, 7, 7])
    np.testing.assert_array_equal(equal.argmax(axis=0), [0, 1, 2])
    np.testing.assert_allclose(equal[DISTANCES > 0].mean(), 0, atol=1e-12)
    flat = p2l_affinity(np.ones((3, 2)), [10, 1000, 100])
    np.testing.assert_array_equal(np.argsort(-flat, axis=0)[:, 0], [1, 2, 0])


@pytest.mark.parametrize(
    ("kld_matrix", "sizes"),
    [
        (DISTANCES, [1, 2]),
        (DISTANCES[0], [1, 2, 3]),
        (DISTANCES + np.inf, [1, 2, 3]),
        (DISTANCES, [1, 0, 3]),
    ],
)
def test_p2l_of_impossible_input_is_refused(kld_matrix, sizes):
    with pytest.raises(FingerprintError, match="P2L"):
        p2l_affinity(kld_matrix, sizes)


def test_p2l_of_no_distances_is_empty_or_zero():
    assert p2l_affinity(np.zeros((2, 2)), [5, 5]).tolist() == [[0, 0], [0, 0]]
