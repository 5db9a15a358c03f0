"""Streaming a dataset into a sketch, with a stand-in for the network: mean colour of every image."""

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
from site_agent.extraction import Work, sketch, sketch_once


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
    first = sketch_once(work(folder), network, tmp_path / "kept", lambda *_: None)
    calls = network.calls
    again = sketch_once(work(folder), network, tmp_path / "kept", lambda *_: None)
    assert network.calls == calls
    assert again == first


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": SamplingPlan(40)},
        {"sampling": SamplingPlan(None, seed=1)},
        {"space": replace(SPACE, reference="others")},
    ],
)
def test_other_settings_are_sketched_anew(folder, tmp_path, changes):
    network = MeanColour()
    sketch_once(work(folder), network, tmp_path / "kept", lambda *_: None)
    calls = network.calls
    sketch_once(work(folder, **changes), network, tmp_path / "kept", lambda *_: None)
    assert network.calls > calls
