import stat
import threading

import numpy as np
import pytest
from array_source import ArraySource
from memory_source import MemorySource

from federation.errors import DataError
from site_agent.training.images import ImageCache

EVERYTHING = np.arange(6)


def make_source():
    return ArraySource(np.arange(6 * 32 * 32 * 3).reshape(6, 32, 32, 3).astype(np.uint8), [0, 1] * 3)


def test_images_are_decoded_once_for_all_steps(tmp_path):
    source = make_source()
    assert ImageCache(source, 28, tmp_path).decode(np.array([4, 1]))
    assert source.decoded == {1, 4}
    source.decoded.clear()
    ImageCache(source, 28, tmp_path).decode(EVERYTHING)
    assert source.decoded == {0, 2, 3, 5}


def test_what_is_kept_is_the_image(tmp_path):
    source = MemorySource(["a", "bb"], [(10, 20, 30), (200, 100, 0)])
    cache = ImageCache(source, 28, tmp_path)
    cache.decode(np.arange(2))
    assert cache.rows.mapped.shape == (2, 28, 28, 3)
    assert np.unique(cache.rows.mapped[1].reshape(-1, 3), axis=0).tolist() == [[200, 100, 0]]


def test_only_the_owner_can_read_them(tmp_path):
    ImageCache(make_source(), 28, tmp_path).decode(EVERYTHING)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept)


def test_names_of_images_are_not_in_the_files(tmp_path):
    ImageCache(MemorySource(["anna", "ben"], [(1, 1, 1), (2, 2, 2)]), 28, tmp_path).decode(np.arange(2))
    assert not any(b"anna" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_unreadable_images_are_left_out(tmp_path):
    source = MemorySource(["a", "bb", "c", "dd"], [(1, 1, 1), None, (3, 3, 3), (4, 4, 4)])
    cache = ImageCache(source, 28, tmp_path, max_unreadable=0.25)
    cache.decode(np.arange(4))
    assert cache.usable(np.array([3, 1, 0])).tolist() == [3, 0]


@pytest.mark.parametrize("colours", [[None, None], [(1, 1, 1), None]])
def test_too_many_unreadable_images_are_refused_every_time(tmp_path, colours):
    cache = ImageCache(MemorySource(["a", "bb"], colours), 28, tmp_path)
    for _ in range(2):
        with pytest.raises(DataError, match="of 2 images cannot be used"):
            cache.decode(np.arange(2))


def test_decoding_stops_when_its_time_is_over_and_ends_all_the_same(tmp_path):
    n = 600
    source = ArraySource(np.zeros((n, 8, 8, 3), np.uint8), [0, 1] * (n // 2))
    cache = ImageCache(source, 28, tmp_path)
    calls = 1
    while not cache.decode(np.arange(n), until=0.0):
        calls += 1
    assert calls == 3
    assert len(source.decoded) == n


def test_threads_that_need_the_same_images_share_the_work(tmp_path):
    source = make_source()
    caches = [ImageCache(source, 28, tmp_path) for _ in range(4)]
    threads = [threading.Thread(target=cache.decode, args=(EVERYTHING,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(cache.rows.mapped, caches[0].rows.mapped) for cache in caches)
    assert caches[0].usable(EVERYTHING).tolist() == EVERYTHING.tolist()
