import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space

from aggregator import matrix
from aggregator.recommend import candidates
from aggregator.store import Catalogue
from federation import distances
from federation.errors import UnknownNameError
from federation.ranking import rank_sources


@pytest.fixture
def catalogue(tmp_path):
    store = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    yield store
    store.close()


@pytest.fixture
def space():
    return make_space()


def add(catalogue, space, *fingerprints):
    with catalogue.writing() as writer:
        writer.add_space(space)
        for fingerprint in fingerprints:
            writer.add_fingerprint(fingerprint)


def consortium(tmp_path, space, n=5):
    return [
        make_fingerprint(make_identity(f"site-{i}", tmp_path), f"task-{i}", space, seed=i, shift=0.2 * i)
        for i in range(n)
    ]


@pytest.mark.parametrize("name", distances.available(make_space()))
def test_growing_one_by_one_gives_the_matrix_computed_at_once(catalogue, space, tmp_path, name):
    prints = consortium(tmp_path, space)
    for fingerprint in prints:
        add(catalogue, space, fingerprint)
        matrix.grow(catalogue, space)
    bound = [fingerprint.bind(space) for fingerprint in prints]
    expected = distances.get(name).matrix(bound, bound)
    np.testing.assert_allclose(matrix.read(catalogue, space, name).values, expected, atol=1e-12)


def test_adding_a_task_computes_one_row_and_one_column(catalogue, space, tmp_path, monkeypatch):
    prints = consortium(tmp_path, space)
    add(catalogue, space, *prints[:4])
    matrix.grow(catalogue, space)
    shapes = []
    real = distances.get

    class Counting:
        def __init__(self, name):
            self.distance = real(name)

        def matrix(self, sources, targets):
            shapes.append((len(sources), len(targets)))
            return self.distance.matrix(sources, targets)

    monkeypatch.setattr(distances, "get", Counting)
    add(catalogue, space, prints[4])
    matrix.grow(catalogue, space)
    assert set(shapes) == {(1, 5), (5, 1)}


def test_a_replaced_fingerprint_leaves_the_matrix(catalogue, space, tmp_path):
    prints = consortium(tmp_path, space, 3)
    add(catalogue, space, *prints)
    matrix.grow(catalogue, space)
    newer = make_fingerprint(make_identity("site-0", tmp_path), "task-0", space, seed=99)
    add(catalogue, space, newer)
    found = matrix.read(catalogue, space, "js")
    assert found.keys == ("site-1/task-1", "site-2/task-2", "site-0/task-0")
    bound = [fingerprint.bind(space) for fingerprint in (*prints[1:], newer)]
    np.testing.assert_allclose(found.values, distances.get("js").matrix(bound, bound), atol=1e-12)


def test_a_task_is_found_by_address_or_unambiguous_name(catalogue, space, tmp_path):
    add(catalogue, space, *consortium(tmp_path, space, 3))
    add(catalogue, space, make_fingerprint(make_identity("twin", tmp_path), "task-1", space, seed=7))
    found = matrix.read(catalogue, space, "js")
    assert found.index("site-2/task-2") == found.index("task-2") == 2
    with pytest.raises(UnknownNameError, match=r"names several tasks.*site-1/task-1, twin/task-1"):
        found.index("task-1")
    with pytest.raises(UnknownNameError, match=r"is no task of the catalogue.*choose one of"):
        found.index("task-9")


def test_the_nearest_source_is_recommended_first_and_never_the_target(catalogue, space, tmp_path):
    add(catalogue, space, *consortium(tmp_path, space))
    ranking = rank_sources(candidates(matrix.read_all(catalogue, space), "task-0"), "cramer")
    assert [choice.source for choice in ranking] == [f"site-{i}/task-{i}" for i in (1, 2, 3, 4)]
    assert [choice.n_sources for choice in ranking] == [4] * 4


def test_an_unknown_distance_is_named(catalogue, space, tmp_path):
    add(catalogue, space, *consortium(tmp_path, space, 2))
    with pytest.raises(UnknownNameError, match="nonsense"):
        matrix.read(catalogue, space, "nonsense")


def test_two_processes_may_grow_the_same_matrix(catalogue, space, tmp_path, monkeypatch):
    add(catalogue, space, *consortium(tmp_path, space, 3))
    real = matrix._borders

    def meanwhile(*arguments):
        found = real(*arguments)
        monkeypatch.setattr(matrix, "_borders", real)
        matrix.grow(catalogue, space)
        return found

    monkeypatch.setattr(matrix, "_borders", meanwhile)
    matrix.grow(catalogue, space)
    assert np.isfinite(matrix.read(catalogue, space, "js").values).all()
