"""Streaming a dataset into a sketch, with a stand-in for the network: mean colour of every image."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from factories import FAR_FUTURE

from federation.errors import DataError, DeadlineError
from federation.sampling import SamplingPlan
from federation.sketches import HistogramSketch
from federation.space import ExtractorIdentity, Space, Transform, equal_width_edges
from site_agent.data import open_source
from site_agent.dataset_config import FolderConfig
from site_agent.extraction import sketch
from site_agent.kept_sketches import sketch_once
from site_agent.loading import drawn_indices
from site_agent.sketch_work import Work


class MeanColour:
    """Three features: the mean of each channel."""

    batch_size = 4
    arithmetic = "exact"

    def __init__(self):
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        return images.float().mean(dim=(2, 3)).numpy()


TRANSFORM = Transform(32, "deterministic", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IDENTITY = ExtractorIdentity("timm", "mean", "00" * 32, TRANSFORM, 3)
SPACE = Space("colours", IDENTITY, equal_width_edges(np.zeros(3), np.full(3, 256.0), 16), "equal-width", "-")


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    for i in range(150):
        path = tmp_path / "pictures" / ("dark" if i < 75 else "light") / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (i, 255 - i, 7)).save(path)
    return tmp_path / "pictures"


def work(folder, **changes):
    source = open_source(FolderConfig(format="folder", task="t", root=folder))
    return replace(Work(source, SPACE, SamplingPlan(None), 0.2, FAR_FUTURE), **changes)


def test_every_image_is_counted_once_in_its_bin(folder):
    found = sketch(work(folder), MeanColour(), lambda *_: None)
    colours = np.array([(i, 255 - i, 7) for i in range(150)], dtype=np.float32)
    assert found.sketches["histogram"] == HistogramSketch.from_features(colours, SPACE.edges)


def test_progress_runs_from_nothing_to_everything(folder):
    seen = []
    sketch(work(folder), MeanColour(), lambda done, total: seen.append((done, total)))
    assert (seen[0], seen[-1]) == ((0, 150), (150, 150))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_budget_draws_that_many_images(folder):
    found = sketch(work(folder, sampling=SamplingPlan(40, seed=5)), MeanColour(), lambda *_: None)
    assert found.n == 40


# The histogram of the colours has one spread-out feature pair and a constant one: its error at 128 images is
# 0.026, at 192 it would be 0.021.
ADAPTIVE = SamplingPlan(10_000, seed=5, tolerance=0.03)


@pytest.mark.parametrize("batch_size", [1, 48, 64, 100, 512])
def test_an_adaptive_plan_stops_at_a_checkpoint_whatever_the_batches(folder, monkeypatch, batch_size):
    monkeypatch.setattr(MeanColour, "batch_size", batch_size)
    found = sketch(work(folder, sampling=ADAPTIVE), MeanColour(), lambda *_: None)
    fixed = sketch(work(folder, sampling=SamplingPlan(128, seed=5)), MeanColour(), lambda *_: None)
    assert found.n == 128
    assert found == fixed


def test_an_adaptive_plan_uses_all_of_a_task_that_is_too_small_or_too_diverse(folder):
    strict = replace(ADAPTIVE, tolerance=0.001)
    assert sketch(work(folder, sampling=strict), MeanColour(), lambda *_: None).n == 150
    limited = replace(strict, n_images=140)
    assert sketch(work(folder, sampling=limited), MeanColour(), lambda *_: None).n == 140
    few = work(folder)
    few = replace(few, source=few.source.subset([0, 80]), sampling=ADAPTIVE)
    assert sketch(few, MeanColour(), lambda *_: None).n == 2


def test_stopping_early_ends_the_decoding_and_tells_the_images_that_were_used(folder):
    seen = []
    sketch(work(folder, sampling=ADAPTIVE), MeanColour(), lambda *told: seen.append(told))
    assert seen == [(0, 150), (64, 150), (128, 128)]
    assert not [t for t in threading.enumerate() if t.name.startswith("fedprint-images")]


@pytest.mark.parametrize("batch_size", [64, 512])
def test_an_adaptive_plan_names_the_unreadable_images_among_those_it_used(folder, monkeypatch, batch_size):
    monkeypatch.setattr(MeanColour, "batch_size", batch_size)
    order = drawn_indices(ADAPTIVE, 150)
    names = sorted(folder.glob("*/*.png"))
    for draw in (10, 128, 149):
        names[order[draw]].write_bytes(b"")
    seen = []
    done = sketch(work(folder, sampling=ADAPTIVE), MeanColour(), lambda *told: seen.append(told))
    expected = {str(names[order[draw]].relative_to(folder)) for draw in (10, 128)}
    assert {bad.name for bad in done.unreadable} == expected
    assert done.n == 128
    assert seen[-1] == (130, 130)


def test_an_adaptive_plan_refuses_a_beginning_that_is_largely_unreadable(folder):
    order = drawn_indices(ADAPTIVE, 150)
    names = sorted(folder.glob("*/*.png"))
    for draw in range(10):
        names[order[draw]].write_bytes(b"")
    with pytest.raises(DataError, match="10 of 138 images cannot be used"):
        sketch(work(folder, sampling=ADAPTIVE, max_unreadable=0.07), MeanColour(), lambda *_: None)


def test_unreadable_images_are_left_out_and_named(folder):
    (folder / "dark" / "003.png").write_bytes(b"")
    found = sketch(work(folder), MeanColour(), lambda *_: None)
    assert found.n == 149
    assert [bad.name for bad in found.unreadable] == ["dark/003.png"]


def test_too_many_unreadable_images_are_refused(folder):
    for i in range(50):
        (folder / "dark" / f"{i:03d}.png").write_bytes(b"")
    with pytest.raises(DataError, match="50 of 150"):
        sketch(work(folder), MeanColour(), lambda *_: None)


def test_work_stops_at_its_deadline(folder, monkeypatch):
    clock = SimpleNamespace(time=iter([10.0, 20.0, 30.0]).__next__)
    monkeypatch.setattr("site_agent.extraction.time", clock)
    with pytest.raises(DeadlineError, match="deadline passed after 64 of 150 images"):
        sketch(work(folder, deadline=15.0), MeanColour(), lambda *_: None)


def test_a_kept_sketch_is_read_back_with_its_unreadable_images(folder, tmp_path):
    (folder / "dark" / "003.png").write_bytes(b"")
    network = MeanColour()
    first = sketch_once(work(folder), lambda: network, "auto", tmp_path / "kept", lambda *_: None)
    calls = network.calls
    again = sketch_once(work(folder), lambda: network, "auto", tmp_path / "kept", lambda *_: None)
    assert network.calls == calls
    assert again == first


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": SamplingPlan(40)},
        {"sampling": SamplingPlan(None, seed=1)},
        {"sampling": SamplingPlan(None, tolerance=0.3)},
        {"space": replace(SPACE, reference="others")},
    ],
)
def test_other_settings_are_sketched_anew(folder, tmp_path, changes):
    network = MeanColour()
    sketch_once(work(folder), lambda: network, "auto", tmp_path / "kept", lambda *_: None)
    calls = network.calls
    sketch_once(work(folder, **changes), lambda: network, "auto", tmp_path / "kept", lambda *_: None)
    assert network.calls > calls
