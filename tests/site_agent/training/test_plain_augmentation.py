import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from site_agent.training.plain_augmentation import plain_augmentation


def make_images(n, side, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, side, side), generator=generator, dtype=torch.uint8)


def augmented(images, seed):
    return plain_augmentation(images, torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(28, 50), st.integers(0, 5))
def test_every_image_is_a_window_of_itself(n, side, seed):
    images = make_images(n, side, seed)
    margin = round(side / 16)
    padded = torch.nn.functional.pad(images.float(), (margin,) * 4, "reflect").to(torch.uint8)
    for whole, found in zip(padded, augmented(images, seed), strict=True):
        windows = [
            whole[:, y : y + side, x : x + side] for y in range(2 * margin + 1) for x in range(2 * margin + 1)
        ]
        assert any(torch.equal(found, w) or torch.equal(found, w.flip(2)) for w in windows)


def test_half_of_the_images_are_mirrored():
    ramp = torch.arange(32, dtype=torch.uint8).expand(2000, 3, 32, 32)
    found = augmented(ramp, 0)
    mirrored = (found[:, 0, 16, 10].int() > found[:, 0, 16, 20].int()).float().mean()
    assert abs(float(mirrored) - 0.5) < 0.05


def test_every_shift_occurs_as_often():
    dot = torch.zeros(5000, 3, 32, 32, dtype=torch.uint8)
    dot[:, :, 15, :] = 255
    rows = augmented(dot, 0)[:, 0, :, 0].float().argmax(1) - 13
    assert torch.bincount(rows, minlength=5).tolist() == [
        count for count in torch.bincount(rows).tolist() if abs(count - 1000) < 150
    ]


def test_the_generator_decides_and_the_images_stay():
    images = make_images(8, 32)
    before, state = images.clone(), torch.get_rng_state()
    assert torch.equal(augmented(images, 1), augmented(images, 1))
    assert not torch.equal(augmented(images, 1), augmented(images, 2))
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)
