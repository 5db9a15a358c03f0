"""The mapped copy gives what the sketches give, and mends itself."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from factories import N_FEATURES, make_space

from aggregator.mapped_histograms import HistogramFiles
from aggregator.row_file import RowFile
from federation import distances
from federation.distances.histogram import FEW, HistogramDistance
from federation.distances.newcomers import rows_and_columns
from federation.distances.stack import Block
from federation.errors import FingerprintError, StoreError
from federation.sketches import HistogramSketch

SPACE = make_space()
AVAILABLE = [distances.get(name) for name in distances.available(SPACE)]
HISTOGRAM_DISTANCES = [d for d in AVAILABLE if isinstance(d, HistogramDistance)]


def sketches(n, *, images=300, space=SPACE):
    found = []
    for seed in range(n):
        random = np.random.default_rng(seed)
        shares = random.dirichlet(np.full(space.n_bins, 0.4), N_FEATURES)
        counts = np.stack([random.multinomial(images + seed, share) for share in shares])
        found.append(HistogramSketch(counts, space.edges))
    return found


def identities(n):
    return [hashlib.sha256(bytes([k])).hexdigest() for k in range(n)]


class Files:
    """Opens the mapped files of some sketches and counts which of them it had to read."""

    def __init__(self, folder, tasks, space=SPACE):
        self.folder, self.tasks, self.space, self.loaded = folder, tasks, space, []

    def open(self, n=None):
        n = len(self.tasks) if n is None else n
        keys = [f"site/task-{k}" for k in range(n)]
        return HistogramFiles(self.folder, self.space, identities(n), keys, self.load)

    def load(self, k):
        self.loaded.append(k)
        return self.tasks[k]

    @property
    def counts(self):
        return self.folder / "histograms-u2.rows"


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "mapped", sketches(9))


def everything(stack):
    return stack.frequencies(slice(0, len(stack)), slice(0, stack.n_features))


def assert_right(files, n=None):
    stack = files.open(n).all()
    assert len(stack) == (len(files.tasks) if n is None else n)
    np.testing.assert_allclose(
        everything(stack), [t.frequencies() for t in files.tasks[: len(stack)]], rtol=1e-12
    )
    return stack


@pytest.mark.parametrize("distance", HISTOGRAM_DISTANCES, ids=lambda d: d.name)
@pytest.mark.parametrize("n_new", [1, FEW + 1, 9])
def test_rows_and_columns_are_those_of_the_sketches(files, distance, n_new):
    stack = files.open().all()
    newcomers = stack.part(slice(9 - n_new, 9))
    ((rows, columns),) = rows_and_columns([distance], newcomers, stack)
    expected = distance.matrix(files.tasks, files.tasks)
    np.testing.assert_allclose(rows, expected[9 - n_new :], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(columns, expected[:, 9 - n_new :], rtol=1e-12, atol=1e-14)


def test_all_distances_together_give_what_each_gives_alone(files, monkeypatch):
    monkeypatch.setattr("federation.distances.stack.CHUNK", 2 * N_FEATURES * SPACE.n_bins)
    stack = files.open().all()
    newcomer = stack.part(slice(8, 9))
    together = rows_and_columns(HISTOGRAM_DISTANCES, newcomer, stack)
    for distance, (rows, columns) in zip(HISTOGRAM_DISTANCES, together, strict=True):
        expected = distance.matrix(files.tasks, files.tasks)
        np.testing.assert_allclose(rows, expected[8:], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(columns, expected[:, 8:], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["bkld-small", "bkld-large"])
def test_bins_are_merged_where_a_distance_asks_for_it(tmp_path, name):
    space = make_space(200)
    files = Files(tmp_path, sketches(6, space=space), space)
    stack = files.open().all()
    for n_new in (1, 6):
        newcomers = stack.part(slice(6 - n_new, 6))
        ((rows, _),) = rows_and_columns([distances.get(name)], newcomers, stack)
        expected = distances.get(name).matrix(files.tasks, files.tasks)
        np.testing.assert_allclose(rows, expected[6 - n_new :], rtol=1e-12)


def test_only_new_fingerprints_are_read(files):
    files.open(8)
    files.loaded.clear()
    assert_right(files)
    assert files.loaded == [8]


@pytest.mark.parametrize("n_new", [1, 3])
def test_a_few_are_compared_with_many_task_by_task(files, monkeypatch, n_new):
    stack = files.open().all()
    monkeypatch.setattr("federation.distances.stack.CHUNK", 2 * N_FEATURES * SPACE.n_bins)
    monkeypatch.setattr("federation.distances.stack.PIECE", 1)
    assert [part.stop - part.start for part in stack.chunks()] == [2, 2, 2, 2, 1]
    held = set()
    real = Block.every

    def holding(self, embedding):
        held.add(len(self))
        return real(self, embedding)

    monkeypatch.setattr(Block, "every", holding)
    found = rows_and_columns(HISTOGRAM_DISTANCES, stack.part(slice(9 - n_new, 9)), stack)
    assert held == {1, n_new}
    for distance, (rows, columns) in zip(HISTOGRAM_DISTANCES, found, strict=True):
        expected = distance.matrix(files.tasks, files.tasks)
        np.testing.assert_allclose(rows, expected[9 - n_new :], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(columns, expected[:, 9 - n_new :], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lost", [1, 100, 4000, 10**9])
def test_a_truncated_file_is_completed(files, lost):
    files.open()
    size = files.counts.stat().st_size
    os.truncate(files.counts, max(0, size - lost))
    assert_right(files)
    assert files.counts.stat().st_size == size


def test_a_missing_file_is_made_again(files):
    files.open()
    files.counts.unlink()
    assert_right(files)


def test_a_damaged_row_is_noticed_and_made_again(files):
    files.open()
    content = bytearray(files.counts.read_bytes())
    sound = bytes(content)
    content[-200] ^= 1
    files.counts.write_bytes(content)
    files.loaded.clear()
    assert_right(files)
    assert set(files.loaded) == {8}
    assert files.counts.read_bytes() == sound


def test_rows_that_the_catalogue_does_not_know_are_not_used(files):
    files.open()
    assert_right(files, 5)


def test_rows_of_other_fingerprints_are_replaced(files):
    files.open()
    other = Files(files.folder, sketches(9, images=50))
    ids = [hashlib.sha256(b"other" + bytes([k])).hexdigest() for k in range(9)]
    stack = HistogramFiles(files.folder, SPACE, ids, ids, other.load).all()
    np.testing.assert_allclose(everything(stack), [t.frequencies() for t in other.tasks], rtol=1e-12)


def test_any_other_file_in_its_place_is_replaced(files):
    files.folder.mkdir()
    files.counts.write_bytes(b"something else" * 10_000)
    assert_right(files)


def test_counts_that_outgrow_two_bytes_get_a_wider_file(files):
    files.open(8)
    files.tasks[8] = sketches(1, images=200_000)[0]
    assert_right(files)
    assert [path.name for path in files.folder.glob("histograms-*")] == ["histograms-i4.rows"]


def test_cells_that_noise_made_negative_are_kept(files):
    counts = files.tasks[3].counts.copy()
    counts[:, 0] -= 400
    counts[:, 1] += 400
    files.tasks[3] = HistogramSketch(counts, SPACE.edges)
    assert_right(files)


def test_a_histogram_without_images_is_named(files):
    files.tasks[2] = HistogramSketch.zero(SPACE.edges)
    with pytest.raises(FingerprintError, match="task-2 holds no images"):
        everything(files.open().all())


def test_exact_means_are_kept(files):
    sums = np.full(N_FEATURES, 2**24 * 700)
    files.tasks[1] = HistogramSketch(files.tasks[1].counts, SPACE.edges, sums)
    np.testing.assert_array_equal(files.open().all().means(), [t.mean_features() for t in files.tasks])


def first_formula(h):
    return h.max(axis=-1)


def second_formula(h):
    return h.min(axis=-1) - 1


def test_a_term_whose_formula_has_changed_is_computed_again(files):
    assert (files.open().all().terms(first_formula) > 0).all()
    second_formula.__name__ = first_formula.__name__
    assert (files.open().all().terms(second_formula) < 0).all()


def test_a_place_that_cannot_be_written_is_one_clear_error(files):
    files.folder.parent.mkdir(exist_ok=True)
    files.folder.write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"mapped.*cannot be written"):
        files.open()


APPEND = """
import sys
import numpy as np
from pathlib import Path
from aggregator.row_file import RowFile
n = int(sys.argv[2])
RowFile(Path(sys.argv[1]), np.dtype(("<i8", (4,))), [f"{k:064x}" for k in range(n)],
        lambda part: np.arange(part.start, part.stop)[:, None] * np.ones((1, 4), int))
"""


def test_what_one_process_has_mapped_stays_valid_while_others_append(tmp_path):
    path, row = tmp_path / "numbers.rows", np.dtype(("<i8", (4,)))

    def rows(n):
        def make(part):
            return np.arange(part.start, part.stop)[:, None] * np.ones((1, 4), int)

        return RowFile(path, row, [f"{k:064x}" for k in range(n)], make)

    ours = rows(50)
    appending = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(path), str(n)]) for n in (20_000, 30_000, 30_000)
    ]
    while any(process.poll() is None for process in appending):
        np.testing.assert_array_equal(ours.read(slice(0, 50))[:, 0], np.arange(50))
    assert [process.wait() for process in appending] == [0, 0, 0]
    np.testing.assert_array_equal(rows(30_000).read(slice(0, 30_000))[:, 3], np.arange(30_000))
