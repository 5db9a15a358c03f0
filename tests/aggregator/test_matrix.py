import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space

from aggregator import growth, matrix
from aggregator.recommend import candidates
from aggregator.store import Catalogue
from federation import distances
from federation.distances.histogram import HistogramDistance
from federation.errors import UnknownNameError
from federation.ranking import rank_sources


@pytest.fixture
def catalogue(place):
    store = Catalogue(place, create=True)
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
    real = HistogramDistance.fill

    def counting(self, values, sources, targets):
        shapes.append((self.name, values.shape))
        real(self, values, sources, targets)

    monkeypatch.setattr(HistogramDistance, "fill", counting)
    add(catalogue, space, prints[4])
    matrix.grow(catalogue, space)
    histogram_distances = [
        d for d in map(distances.get, distances.available(space)) if d.needs == "histogram"
    ]
    rows = {(d.name, (1, 5)) for d in histogram_distances}
    columns = {(d.name, (5, 1)) for d in histogram_distances if not d.symmetric}
    assert set(shapes) == rows | columns


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
    ranking = rank_sources(candidates(matrix.read_column(catalogue, space, "task-0")), "cramer")
    assert [choice.source for choice in ranking] == [f"site-{i}/task-{i}" for i in (1, 2, 3, 4)]
    assert [choice.n_sources for choice in ranking] == [4] * 4


def test_an_unknown_distance_is_named(catalogue, space, tmp_path):
    add(catalogue, space, *consortium(tmp_path, space, 2))
    with pytest.raises(UnknownNameError, match="nonsense"):
        matrix.read(catalogue, space, "nonsense")


def test_two_processes_may_grow_the_same_matrix(catalogue, space, tmp_path, monkeypatch):
    add(catalogue, space, *consortium(tmp_path, space, 3))
    real = growth.rows_and_columns

    def meanwhile(*arguments):
        found = real(*arguments)
        monkeypatch.setattr(growth, "rows_and_columns", real)
        matrix.grow(catalogue, space)
        return found

    monkeypatch.setattr(growth, "rows_and_columns", meanwhile)
    matrix.grow(catalogue, space)
    assert np.isfinite(matrix.read(catalogue, space, "js").values).all()


def test_adding_a_task_reads_no_other_fingerprint(catalogue, space, tmp_path, monkeypatch):
    prints = consortium(tmp_path, space)
    add(catalogue, space, *prints[:4])
    matrix.grow(catalogue, space)
    add(catalogue, space, prints[4])
    read = []
    real = Catalogue.fingerprint

    def counting(self, seq, space):
        read.append(seq)
        return real(self, seq, space)

    monkeypatch.setattr(Catalogue, "fingerprint", counting)
    monkeypatch.delattr(Catalogue, "entries")
    monkeypatch.delattr(Catalogue, "borders")
    matrix.grow(catalogue, space)
    assert set(read) == {5}


def test_one_column_is_that_of_the_matrix_after_withdrawals_and_newer_versions(catalogue, space, tmp_path):
    prints = consortium(tmp_path, space)
    add(catalogue, space, *prints)
    matrix.grow(catalogue, space)
    newer = make_fingerprint(make_identity("site-1", tmp_path), "task-1", space, seed=50)
    add(catalogue, space, newer)
    with catalogue.writing() as writer:
        writer.withdraw(3)
    column = matrix.read_column(catalogue, space, "task-3")
    matrices = matrix.read_all(catalogue, space)
    tasks = [entry.fingerprint.key for entry in column.entries]
    assert tasks == ["site-0/task-0", "site-3/task-3", "site-4/task-4", "site-1/task-1"]
    assert set(column.values) == set(matrices)
    for name, found in matrices.items():
        assert found.keys == tuple(tasks)
        np.testing.assert_array_equal(column.values[name], found.values[:, column.target])
    with pytest.raises(UnknownNameError, match="is no task"):
        matrix.read_column(catalogue, space, "task-2")


def test_a_damaged_mapped_copy_does_not_change_the_matrix(catalogue, space, tmp_path):
    prints = consortium(tmp_path, space)
    add(catalogue, space, *prints[:4])
    matrix.grow(catalogue, space)
    for path in tmp_path.glob("catalogue.mapped/*/*.rows"):
        path.write_bytes(path.read_bytes()[:-50])
    add(catalogue, space, prints[4])
    bound = [fingerprint.bind(space) for fingerprint in prints]
    for name, found in matrix.read_all(catalogue, space).items():
        np.testing.assert_allclose(found.values, distances.get(name).matrix(bound, bound), atol=1e-12)
