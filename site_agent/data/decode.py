"""From the bytes of any image file, or an array of any depth, to 8-bit RGB by fixed rules.

The rules depend on the file alone, never on other images:

* 8-bit grey and palette images are expanded; CMYK is converted by its plain formula; colour profiles are
  ignored; images of several frames give their first one.
* Transparent pixels are laid over black, the colour of air and of empty margins in most medical images.
* The EXIF orientation is applied.
* 16-bit grey is divided by 2^bit_depth - 1 (``bit_depth`` is 16 unless the dataset says otherwise). Values
  above that are an error, never clipped; so is an image that would come out black because its real depth
  is smaller than stated.
* Floating-point images must lie within [0, 1] or within [0, 255].
"""

import struct
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from federation.errors import DataError

MAX_PIXELS = 80_000_000
# Formats that run outside programs (EPS) or accept any bytes at all (TGA) are left out on purpose.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "AVIF", "JPEG2000", "PPM")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp"}
    | {".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm"}
)
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Pixels = npt.NDArray[Any]
Levels = npt.NDArray[np.uint8]


def decode_image(
    file: BinaryIO, name: str, *, bit_depth: int = 16, min_side: int | None = None
) -> Image.Image:
    """Decode an image file into mode "RGB".

    Args:
        file: The open file.
        name: What to call it in errors.
        bit_depth: Bits that 16-bit images really use.
        min_side: Lets JPEG decode at 1/2, 1/4 or 1/8 size while no side gets shorter than this.

    Raises:
        DataError: If it is empty, no image, damaged, or larger than 80 million pixels.
    """
    try:
        return _decode(file, bit_depth, min_side)
    except DataError as error:
        raise DataError(f"{name}: {error.problem}", remedy=error.remedy) from error
    # Decoders meet arbitrary bytes here and fail in as many ways; each means the same for this one image.
    except Exception as error:
        raise DataError(f"{name}: {_reason(file, error)}") from error


def rgb_from_array(pixels: Pixels, bit_depth: int = 16) -> Image.Image:
    """Return an array of grey or colour values as an RGB image.

    Args:
        pixels: [height, width] or [height, width, 1, 3 or 4]; bool, integer or float.
        bit_depth: Bits that integers wider than 8 really use.

    Raises:
        DataError: If the values do not fit the rule for their type.
    """
    levels = _to_uint8(pixels, bit_depth)
    if levels.ndim == 3 and levels.shape[2] == 1:
        levels = levels[:, :, 0]
    return _to_rgb(Image.fromarray(levels))


def _decode(file: BinaryIO, bit_depth: int, min_side: int | None) -> Image.Image:
    with Image.open(file, formats=_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise DataError(_too_many_pixels(image), remedy="store it at a smaller size")
        if min_side is not None:
            image.draft(None, (min_side, min_side))
        orientation = _orientation(image)
        image.load()
        return _to_rgb(_eight_bit(image, bit_depth), orientation)


def _to_rgb(image: Image.Image, orientation: int = 1) -> Image.Image:
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(opaque, image.convert("RGBA"))
    if image.mode != "RGB":
        image = image.convert("RGB")
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _eight_bit(image: Image.Image, bit_depth: int) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_uint8(np.asarray(image), bit_depth))
    return image


def _to_uint8(pixels: Pixels, bit_depth: int) -> Levels:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(pixels.dtype, np.integer):
        return _scale_integers(pixels, bit_depth)
    if np.issubdtype(pixels.dtype, np.floating):
        return _scale_floats(pixels)
    raise DataError(f"pixels of type {pixels.dtype} are no grey or colour values")


def _scale_integers(pixels: Pixels, bit_depth: int) -> Levels:
    white, low, high = 2**bit_depth - 1, int(pixels.min()), int(pixels.max())
    if low < 0 or high > white:
        raise DataError(
            f"values run from {low} to {high}, expected 0 to {white}",
            remedy=f"set bit_depth so that 2^bit_depth - 1 ≥ {high}, or convert the images to 8 bit",
        )
    if 0 < high <= white >> 4:
        raise DataError(
            f"brightest value is {high} where {white} is white, so the image would come out black",
            remedy=f"set bit_depth = {max(8, high.bit_length())} or the depth the images really use",
        )
    levels: Levels = np.rint(pixels * (255.0 / white)).astype(np.uint8)
    return levels


def _scale_floats(pixels: Pixels) -> Levels:
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 255):
        raise DataError(
            f"floating-point values run from {low:g} to {high:g}, expected 0 to 1 or 0 to 255",
            remedy="rescale the images",
        )
    levels: Levels = np.rint(pixels * (255.0 if high <= 1 else 1.0)).astype(np.uint8)
    return levels


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns TIFF images upright itself.
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    # A damaged EXIF block says nothing about the pixels, which decode without it.
    except (OSError, ValueError, TypeError, LookupError, SyntaxError, struct.error):
        return 1


def _reason(file: BinaryIO, error: Exception) -> str:
    try:
        file.seek(0)
        start = file.read(8)
    except OSError as failure:
        return f"cannot be read ({failure})"
    if not start:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return f"not an image in a known format (starts with {start!r})"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS // 10**6} million pixels"
    return f"damaged or truncated ({error})"


def _too_many_pixels(image: Image.Image) -> str:
    return f"{image.width} x {image.height} pixels, more than {MAX_PIXELS // 10**6} million"
