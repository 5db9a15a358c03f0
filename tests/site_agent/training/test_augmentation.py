import random

import numpy as np
import pytest
import torch

from federation.transfer.augmentation import OPERATIONS, AugmentationPolicy, Operation
from federation.transfer.magnitudes import MAGNITUDES
from site_agent.training.augmentation import PLAIN, augmenter

GRADED = [name for name in OPERATIONS if MAGNITUDES[name].most is not None]


def pictures(n=16, side=32):
    """Coloured pictures that no operation leaves alone: no symmetry, not all levels, no black or white."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(10, 250, (n, 3, 16, 16))).float()
    return torch.nn.functional.interpolate(coarse, side, mode="bilinear").round().to(torch.uint8)


def policy(*chains):
    return AugmentationPolicy(
        chains=tuple(tuple(Operation(name=n, probability=p, strength=s) for n, p, s in c) for c in chains)
    )


def only(name, strength=1.0, probability=1.0):
    return augmenter(policy([(name, probability, strength)]))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_keeps_shape_and_type_and_leaves_its_input_alone(name):
    images = pictures()
    before = images.clone()
    after = only(name)(images, chance())
    assert (after.shape, after.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", GRADED)
def test_an_operation_at_strength_zero_is_the_identity(name):
    assert torch.equal(only(name, strength=0.0)(pictures(), chance()), pictures())


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "identity"])
def test_an_operation_at_full_strength_changes_a_picture(name):
    changed = (only(name)(pictures(), chance()) != pictures()).flatten(1).any(1)
    assert changed.float().mean() > 0.5


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_that_is_never_met_changes_nothing(name):
    assert torch.equal(only(name, probability=0.0)(pictures(), chance()), pictures())


@pytest.mark.parametrize("name", GRADED)
def test_a_stronger_operation_changes_more(name):
    images = pictures(64).float()
    weak, strong = (
        (only(name, strength)(pictures(64), chance()).float() - images).abs().mean() for strength in (0.25, 1)
    )
    assert 0 < weak < strong


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_takes_a_single_image_and_images_of_one_colour(name):
    plain = torch.full((1, 3, 28, 28), 7, dtype=torch.uint8)
    assert only(name)(plain, chance()).shape == plain.shape


@pytest.mark.parametrize("name", OPERATIONS)
def test_images_in_any_memory_order_are_augmented_alike(name):
    strided = pictures().contiguous(memory_format=torch.channels_last)
    assert torch.equal(only(name)(strided, chance()), only(name)(pictures(), chance()))


def test_the_same_seed_gives_the_same_images_and_another_seed_others():
    augment = augmenter(policy(*([(name, 0.7, 0.8)] for name in OPERATIONS)))
    first, again, other = (augment(pictures(), chance(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_global_generator_is_read_or_moved():
    augment = augmenter(policy(*([(name, 0.7, 0.8)] for name in OPERATIONS)))
    torch.manual_seed(1)
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    first = augment(pictures(), chance())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    torch.manual_seed(2)
    assert torch.equal(augment(pictures(), chance()), first)


def test_every_image_goes_through_exactly_one_chain():
    images = torch.full((400, 3, 28, 28), 100, dtype=torch.uint8)
    levels = augmenter(policy([("invert", 1.0, 1.0)], []))(images, chance())[:, 0, 0, 0]
    assert set(levels.tolist()) == {100, 155}
    assert 150 < (levels == 155).sum() < 250


def test_operations_of_a_chain_follow_each_other():
    both = augmenter(policy([("invert", 1.0, 1.0), ("horizontal_flip", 1.0, 1.0)]))
    assert torch.equal(both(pictures(), chance()), 255 - pictures().flip(3))


def test_a_probability_is_the_share_of_images_that_are_changed():
    images = torch.full((1000, 3, 28, 28), 100, dtype=torch.uint8)
    changed = (only("invert", probability=0.3)(images, chance()) != images)[:, 0, 0, 0]
    assert changed.float().mean() == pytest.approx(0.3, abs=0.05)


def test_no_policy_means_flips_and_shifts_of_at_most_a_sixteenth():
    images = pictures(64)
    after = augmenter(None)(images, chance())
    assert torch.equal(after, augmenter(PLAIN)(images, chance()))
    inner = slice(4, 28)
    for image, changed in zip(images, after, strict=True):
        moved = [
            twin.roll((down, right), (1, 2))[:, inner, inner]
            for twin in (image, image.flip(2))
            for down in range(-2, 3)
            for right in range(-2, 3)
        ]
        assert any(torch.equal(changed[:, inner, inner], one) for one in moved)


def test_a_shift_mirrors_what_comes_in_at_the_edge():
    row = torch.arange(64, dtype=torch.uint8).view(1, 1, 1, 64).expand(1, 3, 64, 64)
    shifted = only("translate_x")(row, chance(2))[0, 0, 0].tolist()
    by = shifted[32] - 32
    assert by != 0
    expected = [min(abs(i + by), 126 - abs(i + by)) for i in range(64)]
    assert shifted == expected


def test_a_turn_is_about_the_centre_and_of_at_most_the_stated_angle():
    images = torch.zeros(50, 3, 65, 65, dtype=torch.uint8)
    images[:, :, 30:35, 60:65] = 255
    places = torch.stack(torch.meshgrid(torch.arange(65.0), torch.arange(65.0), indexing="ij"))
    turned = only("rotate", 0.5)(images, chance())[:, 0].float()
    centres = (turned[:, None] * places).sum((2, 3)) / turned.sum((1, 2))[:, None] - 32
    degrees = torch.rad2deg(torch.atan2(centres[:, 0], centres[:, 1]))
    assert degrees.abs().max() < 15.5
    assert degrees.max() > 10
    assert degrees.min() < -10


def test_brightness_is_changed_by_at_most_the_stated_share_both_ways():
    images = torch.full((200, 3, 28, 28), 100, dtype=torch.uint8)
    levels = only("brightness", 0.5)(images, chance())[:, 0, 0, 0].float()
    assert levels.min() == pytest.approx(70, abs=2)
    assert levels.max() == pytest.approx(130, abs=2)


def test_the_erased_square_holds_the_mean_of_the_image_and_has_at_most_the_stated_side():
    images = torch.zeros(100, 3, 40, 40, dtype=torch.uint8)
    images[:, :, ::2] = 200
    erased = (only("erase", 0.5)(images, chance()) == 100)[:, 0]
    assert erased.any(1).sum(1).max() == 8
    assert torch.equal(erased.any(1).sum(1) * erased.any(2).sum(1), erased.sum((1, 2)))
