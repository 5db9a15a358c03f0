import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import make_folder, make_pixels, save

from federation.errors import DataError
from federation.sampling import SamplingPlan
from federation.space import Transform
from site_agent.data import open_source
from site_agent.data.unreadable import BadImage
from site_agent.dataset_config import FolderConfig
from site_agent.loading import ImageStream, drawn_indices

EVERYTHING = SamplingPlan(None)
PAPER = SamplingPlan(40, replacement=True, seed=4)


def make_transform(preprocessing="deterministic"):
    return Transform(28, preprocessing, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def make_source(root, counts=None):
    make_folder(root, counts or {"a": 9, "b": 12})
    return open_source(FolderConfig(task="t", format="folder", root=root))


def spoil(root, *names):
    for name in names:
        (root / name).write_bytes(b"no image")


def run(source, plan=EVERYTHING, preprocessing="deterministic", **options):
    stream = ImageStream(source, make_transform(preprocessing), plan, **options)
    return stream, list(stream)


def joined(batches):
    parts = ("images", "labels", "indices")
    return [torch.cat([getattr(batch, part) for batch in batches]).numpy() for part in parts]


def threads_of_loaders():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fedprint-images")]


def test_batches_have_the_promised_types_and_sizes(tmp_path):
    stream, batches = run(make_source(tmp_path), batch_size=8)
    assert len(stream) == 21
    assert [tuple(batch.images.shape) for batch in batches] == [
        (8, 3, 28, 28),
        (8, 3, 28, 28),
        (5, 3, 28, 28),
    ]
    for batch in batches:
        assert (batch.images.dtype, batch.labels.dtype, batch.indices.dtype) == (
            torch.uint8,
            torch.int64,
            torch.int64,
        )
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
    _, labels, indices = joined(batches)
    assert indices.tolist() == list(range(21))
    assert labels.tolist() == [0] * 9 + [1] * 12


@pytest.mark.parametrize("plan", [EVERYTHING, SamplingPlan(10, seed=3), PAPER])
@pytest.mark.parametrize("preprocessing", ["deterministic", "paper"])
def test_threads_and_batch_size_do_not_change_a_byte(tmp_path, plan, preprocessing):
    source = make_source(tmp_path)
    expected = joined(run(source, plan, preprocessing, workers=0)[1])
    for workers, batch_size in [(1, 4), (2, 7), (3, 64)]:
        found = joined(run(source, plan, preprocessing, workers=workers, batch_size=batch_size)[1])
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_stream_can_be_read_again(tmp_path):
    source = make_source(tmp_path)
    spoil(tmp_path, "a/3.png")
    stream = ImageStream(source, make_transform(), EVERYTHING)
    first, second = joined(list(stream)), joined(list(stream))
    np.testing.assert_array_equal(first[0], second[0])
    assert [bad.name for bad in stream.bad] == ["a/3.png"]


def test_a_repeated_image_is_decoded_once_and_cropped_anew(tmp_path, monkeypatch):
    source = make_source(tmp_path, {"a": 1, "b": 1})
    decoded = []
    original = source.load
    monkeypatch.setattr(
        source, "load", lambda index, **options: decoded.append(index) or original(index, **options)
    )
    _, (batch,) = run(source, PAPER, "paper", workers=0)
    assert decoded == [0, 1]
    assert len({image.numpy().tobytes() for image in batch.images}) > 10


def test_one_thousand_files_with_three_bad_ones_finish_and_list_them(tmp_path):
    source = make_source(tmp_path, {"a": 500, "b": 500})
    (tmp_path / "a" / "17.png").write_bytes(b"")
    (tmp_path / "b" / "0.png").write_bytes(b"<html>not found</html>")
    content = save(tmp_path / "x.png", make_pixels(size=(90, 90))).read_bytes()
    (tmp_path / "b" / "99.png").write_bytes(content[: len(content) // 2])
    stream, batches = run(source, workers=2)
    assert [batch.images.shape[0] for batch in batches] == [64] * 15 + [37]
    assert [bad.name for bad in stream.bad] == ["a/17.png", "b/0.png", "b/99.png"]
    assert stream.bad[0] == BadImage("a/17.png", "the file is empty")
    assert "not an image in a known format" in stream.bad[1].reason
    assert "damaged or truncated" in stream.bad[2].reason
    indices = joined(batches)[2]
    names = {source.name(index) for index in indices.tolist()}
    assert len(names) == 997
    assert not names & {bad.name for bad in stream.bad}


def test_a_bad_image_that_is_drawn_often_is_reported_once(tmp_path):
    source = make_source(tmp_path)
    spoil(tmp_path, "a/2.png")
    plan = SamplingPlan(300, replacement=True)
    stream, batches = run(source, plan, batch_size=3)
    assert [bad.name for bad in stream.bad] == ["a/2.png"]
    kept = joined(batches)[2]
    assert kept.tolist() == [index for index in drawn_indices(plan, 21).tolist() if index != 2]


def test_too_many_bad_images_stop_the_run_with_their_names(tmp_path):
    source = make_source(tmp_path)
    spoil(tmp_path, "a/0.png", "a/1.png", "a/2.png", "b/4.png", "b/5.png")
    with pytest.raises(
        DataError, match=r"5 of 21 images cannot be used \(a/0\.png: not an .* at most 20% may fail"
    ):
        run(source)
    assert len(run(source, max_unreadable=0.25)[0].bad) == 5


def test_nothing_left_is_an_error_even_when_all_may_fail(tmp_path):
    source = make_source(tmp_path, {"a": 1, "b": 1})
    spoil(tmp_path, "a/0.png", "b/0.png")
    with pytest.raises(DataError, match="2 of 2 images cannot be used"):
        run(source, max_unreadable=1.0)


def interrupted(stream):
    for _ in stream:
        raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_no_thread_outlives_the_iteration(tmp_path, workers):
    source = make_source(tmp_path, {"a": 50, "b": 50})
    stream = ImageStream(source, make_transform(), EVERYTHING, batch_size=4, workers=workers)
    assert sum(len(batch.labels) for batch in stream) == 100
    assert threads_of_loaders() == []
    unfinished = iter(stream)
    next(unfinished)
    assert len(threads_of_loaders()) == workers
    unfinished.close()
    assert threads_of_loaders() == []
    with pytest.raises(KeyboardInterrupt):
        interrupted(stream)
    gc.collect()
    assert threads_of_loaders() == []


def test_decoding_never_runs_far_ahead_of_the_consumer(tmp_path, monkeypatch):
    source = make_source(tmp_path, {"a": 100, "b": 100})
    decoded = []
    original = source.load
    monkeypatch.setattr(
        source, "load", lambda index, **options: decoded.append(index) or original(index, **options)
    )
    batches = iter(ImageStream(source, make_transform(), EVERYTHING, batch_size=5, workers=2))
    next(batches)
    batches.close()
    assert len(decoded) <= 5 * (2 * 2 + 1)


def test_streams_in_several_threads_do_not_disturb_each_other(tmp_path):
    source = make_source(tmp_path)
    expected = joined(run(source, PAPER, "paper")[1])[0]
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(run, source, PAPER, "paper", workers=2, batch_size=3) for _ in range(8)]:
            np.testing.assert_array_equal(joined(future.result()[1])[0], expected)


@given(st.integers(1, 200), st.integers(1, 300), st.integers(0, 2**32))
def test_without_replacement_every_image_is_used_at_most_once(available, n, seed):
    indices = drawn_indices(SamplingPlan(n, seed=seed), available)
    assert len(indices) == min(n, available)
    assert (np.diff(indices) > 0).all()
    assert indices.dtype == np.int64
    assert 0 <= indices.min() <= indices.max() < available


@given(st.integers(1, 200), st.integers(1, 300), st.integers(0, 2**32))
def test_with_replacement_there_are_exactly_n_draws(available, n, seed):
    indices = drawn_indices(SamplingPlan(n, replacement=True, seed=seed), available)
    assert (len(indices), indices.dtype) == (n, np.int64)
    assert (np.diff(indices) >= 0).all()
    assert 0 <= indices.min() <= indices.max() < available


@given(st.integers(1, 200), st.integers(1, 300), st.integers(0, 2**32))
def test_any_beginning_of_an_adaptive_draw_is_the_simple_random_sample_of_that_size(available, n, seed):
    order = drawn_indices(SamplingPlan(None, seed=seed, tolerance=0.015), available)
    beginning = np.sort(order[: min(n, available)])
    np.testing.assert_array_equal(beginning, drawn_indices(SamplingPlan(n, seed=seed), available))
    limited = drawn_indices(SamplingPlan(n, seed=seed, tolerance=0.015), available)
    np.testing.assert_array_equal(limited, order[:n])


def test_the_beginning_of_an_adaptive_draw_favours_no_part_of_the_dataset():
    first = [drawn_indices(SamplingPlan(None, seed=s, tolerance=0.1), 10)[:2] for s in range(5000)]
    assert abs(np.bincount(np.concatenate(first)) - 1000).max() < 120


def test_batches_say_which_draws_they_hold(tmp_path):
    source = make_source(tmp_path)
    spoil(tmp_path, "a/2.png")
    _, batches = run(source, batch_size=8)
    draws = torch.cat([batch.draws for batch in batches])
    assert draws.tolist() == [draw for draw in range(21) if draw != 2]


def test_bad_images_that_were_only_read_ahead_do_not_count(tmp_path):
    source = make_source(tmp_path)
    spoil(tmp_path, "a/2.png", "b/9.png")
    stream, _ = run(source)
    assert [bad.name for bad in stream.bad_among(20)] == ["a/2.png"]
    assert stream.bad_among(2) == ()
    with pytest.raises(DataError, match="1 of 3 images cannot be used"):
        stream.bad_among(3)


def test_an_empty_selection_is_refused(tmp_path):
    with pytest.raises(DataError, match="no images to draw from"):
        run(make_source(tmp_path).subset([]))


def test_draws_follow_the_seed_and_are_uniform():
    plan = SamplingPlan(10_000, replacement=True, seed=1)
    counts = np.bincount(drawn_indices(plan, 10))
    assert abs(counts - 1000).max() < 120
    np.testing.assert_array_equal(drawn_indices(plan, 10), drawn_indices(plan, 10))
    assert (drawn_indices(SamplingPlan(5, seed=1), 100) != drawn_indices(SamplingPlan(5, seed=2), 100)).any()
    picked = np.bincount(np.concatenate([drawn_indices(SamplingPlan(5, seed=s), 10) for s in range(2000)]))
    assert abs(picked - 1000).max() < 120


def test_the_draw_of_a_seed_never_changes():
    assert drawn_indices(SamplingPlan(5, seed=7), 100).tolist() == [6, 32, 37, 96, 98]
    assert drawn_indices(SamplingPlan(5, replacement=True, seed=7), 100).tolist() == [1, 14, 25, 43, 86]
