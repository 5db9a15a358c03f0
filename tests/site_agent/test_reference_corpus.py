"""The reference corpus: the same bytes everywhere, and enough variety to place bin edges."""

from itertools import pairwise

import numpy as np
import pytest

from site_agent.reference_corpus import (
    DEFAULT_IMAGES,
    VERSION,
    corpus_digest,
    reference_image,
    reference_images,
)
from site_agent.reference_corpus.dice import Dice
from site_agent.reference_corpus.fields import clouds, wave
from site_agent.reference_corpus.scenes import SCENES


def test_corpus_bytes_are_the_pinned_ones() -> None:
    """A change here is a new corpus: every space made from it changes, so VERSION must change as well."""
    assert VERSION == "procedural-v1"
    assert corpus_digest(48, 64) == "3f1c59fdc57e0baf8225c1f4c4daad94f7472191413fb1846cf5087a7cda2b17"
    assert corpus_digest(24, 224) == "ab0097372bef0826a06b538db8a58191ab02ad8aa2f05c53b00504a83855590b"


def test_images_are_square_rgb_bytes_of_the_asked_size() -> None:
    images = list(reference_images(3, 40))
    assert [(image.shape, image.dtype) for image in images] == [((40, 40, 3), np.uint8)] * 3


def test_an_image_does_not_depend_on_how_many_are_asked_for() -> None:
    assert np.array_equal(reference_image(29, 48), list(reference_images(30, 48))[29])


def test_images_are_rendered_one_at_a_time() -> None:
    images = reference_images(10**9, 32)
    assert np.array_equal(next(images), reference_image(0, 32))


def test_default_number_of_images_holds_every_kind_of_scene_equally_often() -> None:
    assert DEFAULT_IMAGES % len(SCENES) == 0


@pytest.mark.parametrize("size", [16, 33, 96, 256])
def test_every_kind_of_scene_renders_at_every_size(size: int) -> None:
    for index in range(len(SCENES)):
        assert reference_image(index, size).shape == (size, size, 3)


def test_no_two_of_the_first_images_are_alike() -> None:
    images = [image.astype(np.int64) for image in reference_images(48, 32)]
    assert min(np.abs(one - other).mean() for one, other in pairwise(images)) > 2


def test_corpus_covers_dark_and_bright_gray_and_coloured_flat_and_busy() -> None:
    images = [image.astype(np.float64) for image in reference_images(96, 48)]
    brightness = [image.mean() for image in images]
    colour = [np.ptp(image, axis=2).mean() for image in images]
    contrast = [image.mean(axis=2).std() for image in images]
    assert min(brightness) < 30 < 210 < max(brightness)
    assert sum(value < 1 for value in colour) >= 20
    assert sum(value > 60 for value in colour) >= 15
    assert min(contrast) < 8 < 80 < max(contrast)


@pytest.mark.parametrize("kind", range(len(SCENES)))
def test_scenes_stay_float32_whose_arithmetic_is_exact_everywhere(kind: int) -> None:
    for index in range(kind, 60, len(SCENES)):
        scene = SCENES[kind](Dice(index), 32)
        assert scene.dtype == np.float32
        assert scene.shape == (3, 32, 32)
        assert np.isfinite(scene).all()


def test_dice_of_one_image_repeat_and_of_two_images_differ() -> None:
    assert Dice(7).field(4, 4).tolist() == Dice(7).field(4, 4).tolist()
    assert Dice(7).unit() != Dice(8).unit()
    assert Dice(7).unit() != float(Dice(7).field(1)[0])


def test_dice_are_uniform() -> None:
    dice = Dice(0)
    field = dice.field(200, 200)
    assert field.min() >= 0
    assert field.max() < 1
    assert abs(float(field.mean()) - 0.5) < 0.005
    assert {dice.integer(1, 6) for _ in range(200)} == {1, 2, 3, 4, 5, 6}


def test_directions_are_unit_vectors() -> None:
    dice = Dice(1)
    for x, y in (dice.direction() for _ in range(50)):
        assert x * x + y * y == pytest.approx(1, abs=1e-12)


def test_wave_has_period_one_and_fills_the_unit_interval() -> None:
    phase = np.arange(0, 2, 0.125, dtype=np.float32)
    values = wave(phase)
    assert np.array_equal(values[:8], values[8:])
    assert (values.min(), values.max()) == (0, 1)


def test_clouds_stay_in_the_unit_interval() -> None:
    field = clouds(Dice(3), 64, 4, octaves=9, roughness=0.9)
    assert 0 <= field.min() < field.max() <= 1
