import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from federation.space import Transform
from site_agent.transforms import ImageTransform, centre_margins

HALF = (0.5, 0.5, 0.5)


def make_transform(preprocessing="deterministic", size=224, interpolation="bilinear"):
    return ImageTransform(Transform(size, preprocessing, interpolation, HALF, HALF))


def gradient(width, height):
    """Red grows from left to right, green from top to bottom, both from 0 to 255."""
    pixels = np.zeros((height, width, 3), np.float64)
    pixels[..., 0] = (np.arange(width) + 0.5) / width * 255
    pixels[..., 1] = ((np.arange(height) + 0.5) / height * 255)[:, None]
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


@pytest.mark.parametrize("preprocessing", ["deterministic", "paper"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 200), (28, 28), (1, 1), (1, 3000), (3000, 1), (500, 640)])
@pytest.mark.parametrize("side", [32, 224])
def test_any_image_becomes_a_square_uint8_tensor(preprocessing, interpolation, size, side):
    tensor = make_transform(preprocessing, side, interpolation)(Image.new("RGB", size, (9, 90, 200)))
    assert tensor.dtype == torch.uint8
    assert tensor.shape == (3, side, side)
    assert tensor.amin(dim=(1, 2)).tolist() == tensor.amax(dim=(1, 2)).tolist() == [9, 90, 200]


@pytest.mark.parametrize(
    ("sides", "margins"),
    [
        ((256, 256), [2, 2]),
        ((256, 288), [2, 16]),
        ((300, 200), [16, 2]),
        ((100, 106), [2, 9]),
        ((1, 900), [2, 16]),
    ],
)
def test_the_centre_crop_leaves_out_the_published_margins(sides, margins):
    assert centre_margins(sides, 224) == margins


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(14, 600))
def test_the_centre_crop_never_leaves_the_image(height, width, size):
    margins = centre_margins((height, width), size)
    assert all(0 <= margin <= size / 14 + 0.5 for margin in margins)


@pytest.mark.parametrize("size", [(400, 400), (600, 400), (400, 430), (300, 900)])
def test_the_deterministic_transform_is_the_centre_crop_of_the_paper_canvas(size):
    image = gradient(*size)
    canvas = make_transform("paper").prepare(image)
    assert canvas.shape == (256, 256, 3)
    centre = canvas[16:240, 16:240].astype(int)
    direct = make_transform("deterministic").finish(make_transform("deterministic").prepare(image), 0, 0)
    assert np.abs(centre - direct).max() <= 1


def test_the_paper_canvas_is_padded_by_reflection_without_repeating_the_border():
    image = Image.new("RGB", (256, 256))
    image.paste((255, 255, 255), (0, 0, 1, 256))
    canvas = make_transform("paper").prepare(image)[:, :, 0].astype(float)
    # The white column lies at 16 of 288, hence at 14.2 of 256; reflection leaves black on either side of it.
    assert abs(np.average(np.arange(256), weights=canvas[128]) - 14.2) < 0.3
    assert canvas[128, :12].max() == 0


def test_draws_of_one_image_differ_and_repeat_exactly():
    transform, image = make_transform("paper"), gradient(300, 200)
    draws = [transform(image, seed=1, draw=draw) for draw in range(8)]
    assert len({draw.numpy().tobytes() for draw in draws}) == 8
    for draw, tensor in enumerate(draws):
        assert torch.equal(transform(image, seed=1, draw=draw), tensor)
    assert not torch.equal(transform(image, seed=2, draw=0), draws[0])


def test_crops_cover_all_positions_and_half_are_flipped():
    transform = make_transform("paper", size=28)
    canvas = np.zeros((32, 32, 3), np.uint8)
    canvas[..., 0], canvas[..., 1] = np.arange(32), np.arange(32)[:, None]
    crops = [transform.finish(canvas, 0, draw) for draw in range(2000)]
    flipped = [bool(crop[0, 0, 0] > crop[0, -1, 0]) for crop in crops]
    lefts = np.bincount([int(crop[..., 0].min()) for crop in crops])
    tops = np.bincount([int(crop[..., 1].min()) for crop in crops])
    assert abs(np.mean(flipped) - 0.5) < 0.05
    assert len(lefts) == len(tops) == 5
    assert min(lefts.min(), tops.min()) > 320


def test_the_deterministic_transform_ignores_seed_and_draw():
    transform, image = make_transform(), gradient(300, 200)
    assert torch.equal(transform(image, seed=1, draw=2), transform(image, seed=3, draw=4))


def test_reduction_is_antialiased():
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    tensor = make_transform()(Image.fromarray(stripes)).float()
    assert 120 < tensor.mean() < 135
    assert tensor.std() < 12


def test_the_bytes_are_the_same_on_every_machine():
    image = gradient(301, 203)
    digests = [
        hashlib.sha256(make_transform(preprocessing)(image, seed=5, draw=7).contiguous().numpy()).hexdigest()[
            :16
        ]
        for preprocessing in ("deterministic", "paper")
    ]
    assert digests == ["7163aaaf4602f9d7", "686700d065319735"]
