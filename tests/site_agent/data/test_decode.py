import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pictures import make_pixels
from PIL import Image

from federation.errors import DataError
from site_agent.data import decode
from site_agent.data.decode import decode_image, rgb_from_array

RED = (255, 0, 0)


def encoded(image, file_format="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, file_format, **options)
    file.seek(0)
    return file


def pixels_of(file, **options):
    image = decode_image(file, "x", **options)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    "file_format", ["PNG", "BMP", "TIFF", "GIF", "PPM", "WEBP", "AVIF", "JPEG", "JPEG2000"]
)
def test_common_formats_decode_to_the_same_picture(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    pixels = make_pixels(size=(64, 48))
    decoded = pixels_of(encoded(pixels, file_format, **options))
    assert np.abs(decoded.astype(int) - pixels).mean() < (8 if file_format == "GIF" else 4)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_colour_mode_becomes_rgb_with_its_colours(mode):
    grey = np.full((4, 4), 255, np.uint8)
    sources = {
        "I;16": np.full((4, 4), 65535, np.uint16),
        "I": np.full((4, 4), 65535, np.int32),
        "F": np.full((4, 4), 1, np.float32),
    }
    image = Image.fromarray(sources[mode]) if mode in sources else Image.fromarray(grey).convert(mode)
    file_format = "TIFF" if mode in ("CMYK", "YCbCr", "I", "F") else "PNG"
    assert Image.open(encoded(image, file_format)).mode == mode
    np.testing.assert_array_equal(pixels_of(encoded(image, file_format)), np.full((4, 4, 3), 255))


def test_transparent_pixels_lie_over_black():
    image = Image.new("RGBA", (2, 1), (200, 100, 50, 0))
    image.putpixel((1, 0), (200, 100, 50, 255))
    assert pixels_of(encoded(image)).tolist() == [[[0, 0, 0], [200, 100, 50]]]


def test_a_transparent_palette_colour_lies_over_black():
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 255, 0, 0])
    image.putpixel((1, 0), 1)
    assert pixels_of(encoded(image, transparency=0)).tolist() == [[[0, 0, 0], list(RED)]]


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(file_format, orientation):
    upright = np.zeros((32, 16, 3), np.uint8)
    upright[:8, :8] = 255
    stored = Image.fromarray(upright)
    if orientation in decode._UPRIGHT:
        inverse = {6: 8, 8: 6}.get(orientation, orientation)
        stored = stored.transpose(decode._UPRIGHT[inverse])
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = pixels_of(encoded(stored, file_format, exif=exif))
    assert np.abs(decoded.astype(int) - upright).mean() < 6


def test_a_damaged_exif_block_does_not_cost_the_image():
    file = encoded(make_pixels(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f")
    assert decode_image(file, "x").size == (24, 20)


def test_of_an_animation_the_first_frame_is_used():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, (0, 0, 255))]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels_of(file)[0, 0].tolist() == list(RED)


def test_sixteen_bits_are_scaled_by_their_full_range():
    ramp = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert pixels_of(encoded(ramp))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_stated_bit_depth_is_the_range():
    ramp = np.array([[0, 2048, 4095]], np.uint16)
    assert pixels_of(encoded(ramp), bit_depth=12)[0, :, 0].tolist() == [0, 128, 255]


def test_values_beyond_the_stated_depth_are_refused_not_clipped():
    with pytest.raises(DataError, match=r"^x: values run from 0 to 4096, expected 0 to 4095 → set bit_depth"):
        decode_image(encoded(np.array([[0, 4096]], np.uint16)), "x", bit_depth=12)


def test_an_image_that_would_come_out_black_names_the_depth_to_set():
    with pytest.raises(DataError, match=r"brightest value is 4095 .* come out black → set bit_depth = 12"):
        decode_image(encoded(np.array([[0, 4095]], np.uint16)), "x")


def test_a_black_image_is_black():
    assert not pixels_of(encoded(np.zeros((2, 2), np.uint16))).any()


def test_negative_integers_are_refused():
    with pytest.raises(DataError, match="values run from -5 to 7"):
        decode_image(encoded(np.array([[-5, 7]], np.int32), "TIFF"), "x")


def test_floating_point_images_span_one_or_255():
    assert pixels_of(encoded(np.array([[0, 0.5, 1]], np.float32), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    assert pixels_of(encoded(np.array([[0, 99.6, 255]], np.float32), "TIFF"))[0, :, 0].tolist() == [
        0,
        100,
        255,
    ]


@pytest.mark.parametrize("odd", [-0.1, 255.1, np.nan, np.inf])
def test_other_floating_point_ranges_are_refused(odd):
    with pytest.raises(DataError, match="floating-point values run from"):
        decode_image(encoded(np.array([[0, odd]], np.float32), "TIFF"), "x")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello world, no image", r"not an image in a known format \(starts with b'hello wo'\)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a known format"),
        (encoded(make_pixels(size=(200, 200)), "JPEG").read()[:2000], "damaged or truncated"),
        (encoded(make_pixels(size=(200, 200))).read()[:200], "damaged or truncated"),
    ],
    ids=["empty", "text", "postscript", "truncated-jpeg", "truncated-png"],
)
def test_bad_files_say_what_is_wrong(content, reason):
    with pytest.raises(DataError, match=f"^a/b.png: {reason}"):
        decode_image(io.BytesIO(content), "a/b.png")


def test_a_decompression_bomb_is_refused_before_it_unpacks(monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 99)
    with pytest.raises(DataError, match="10 x 10 pixels, more than 0 million"):
        decode_image(encoded(Image.new("1", (10, 10))), "x")
    header = encoded(Image.new("L", (10, 10)), "BMP").read()
    huge = header[:18] + (60_000).to_bytes(4, "little") * 2 + header[26:]
    with pytest.raises(DataError, match="more than 0 million pixels"):
        decode_image(io.BytesIO(huge), "x")


def test_jpeg_decodes_smaller_but_not_below_the_wanted_side():
    file = encoded(make_pixels(size=(1600, 1200)), "JPEG")
    assert decode_image(file, "x", min_side=512).size == (800, 600)
    assert decode_image(encoded(make_pixels(size=(1000, 900)), "JPEG"), "x", min_side=512).size == (1000, 900)
    assert decode_image(encoded(make_pixels(size=(1600, 1200))), "x", min_side=512).size == (1600, 1200)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_but_a_data_error(content):
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"GIF89a", b"BM", b"P6 9 9 255\n"):
        with pytest.raises(DataError):
            decode_image(io.BytesIO(start + content + b"."), "x")


@given(arrays.arrays(np.uint16, (3, 4)))
def test_scaling_sixteen_bits_keeps_the_order_of_pixels(values):
    values[0, 0] = 65535
    levels = np.asarray(rgb_from_array(values))[:, :, 0]
    order = np.argsort(values, axis=None)
    assert (np.diff(levels.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (5, 4, 4)])
def test_arrays_of_every_channel_count_become_rgb(shape):
    assert rgb_from_array(np.full(shape, 255, np.uint8)).getpixel((0, 0)) == (255, 255, 255)


def test_booleans_are_black_and_white():
    assert np.asarray(rgb_from_array(np.eye(2, dtype=bool)))[:, :, 0].tolist() == [[255, 0], [0, 255]]
