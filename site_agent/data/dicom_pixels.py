"""How a frame of a DICOM file becomes an 8-bit RGB image (DICOM PS3.3, C.7.6.3, C.11.1, C.11.2)."""

import logging
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array

from federation.errors import DataError
from site_agent.data.decode import MAX_PIXELS

MAX_FRAMES = 100_000

# It logs a traceback for every file it cannot decode; here each becomes one error that names the file.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

Values = npt.NDArray[Any]
Levels = npt.NDArray[np.uint8]


def read_header(file: BinaryIO, tags: Sequence[str] | None = None) -> Dataset:
    """Read what stands before the pixels.

    Args:
        file: The open file.
        tags: Keywords of the attributes to keep; None keeps all.

    Raises:
        DataError: If it is not a DICOM file, or a damaged one.
    """
    try:
        return dcmread(file, stop_before_pixels=True, specific_tags=None if tags is None else list(tags))
    except InvalidDicomError as error:
        raise DataError("not a DICOM file") from error
    # Parsers meet arbitrary bytes here and fail in as many ways; each means the same for this one file.
    except Exception as error:
        raise DataError(f"damaged DICOM header ({_one_line(error)})") from error


def count_frames(header: Dataset) -> int:
    """Return the number of frames; 1 where the header says nothing believable."""
    try:
        frames = int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        return 1
    return frames if 1 <= frames <= MAX_FRAMES else 1


def decode_frame(
    file: BinaryIO, name: str, frame: int = 0, window: tuple[float, float] | None = None
) -> Image.Image:
    """Decode one frame into mode "RGB".

    Greyscale goes through the modality transform (rescale slope and intercept, or lookup table) and then
    the first of these that exists: ``window``; the file's VOI lookup table; the file's first window; the
    range from the darkest to the brightest pixel of the frame, padding left out, as viewers do. MONOCHROME1
    is inverted. Colour, YBR and palette images become RGB; of deeper colours the top 8 bits are kept.

    Args:
        file: The open file.
        name: What to call it in errors.
        frame: Frame number, counted from 0.
        window: (centre, width) in modality units.

    Raises:
        DataError: If the file is damaged, larger than 80 million pixels a frame, or compressed in a way
            for which no decoder is installed.
    """
    try:
        return _render(file, frame, window)
    except DataError as error:
        raise DataError(f"{name}: {error.problem}", remedy=error.remedy) from error
    # As for headers: decoders fail in many ways, and one bad image must not stop the rest.
    except Exception as error:
        raise DataError(f"{name}: damaged or unsupported DICOM ({_one_line(error)})") from error


def _render(file: BinaryIO, frame: int, window: tuple[float, float] | None) -> Image.Image:
    header = read_header(file)
    _check(header)
    pixels = _pixels(file, header, frame)
    kind = str(header.PhotometricInterpretation)
    if kind.startswith("MONOCHROME"):
        levels = grey_levels(pixels, header, frame, window)
    elif kind == "PALETTE COLOR":
        colours = apply_color_lut(pixels, header)
        levels = _top_eight_bits(colours, 8 * colours.dtype.itemsize)
    else:
        levels = _top_eight_bits(pixels, int(header.BitsStored))
    return Image.fromarray(levels).convert("RGB")


def grey_levels(
    pixels: Values, header: Dataset, frame: int = 0, window: tuple[float, float] | None = None
) -> Levels:
    """Return stored greyscale values as uint8 of the same shape, black to white.

    Args:
        pixels: [height, width], stored values of one frame.
        header: The file's dataset.
        frame: Frame number, counted from 0.
        window: (centre, width) in modality units, or None for what the file says.
    """
    values = _modality_values(pixels, header, frame)
    table = _holder(header, frame, "FrameVOILUTSequence", "VOILUTSequence")
    own = _holder(header, frame, "FrameVOILUTSequence", "WindowCenter")
    if window is not None:
        shares = _linear(values, *window)
    elif table is not None and table.VOILUTSequence:
        depth = int(table.VOILUTSequence[0].LUTDescriptor[2])
        shares = apply_voi(np.rint(values).astype(np.int64), table) / (2**depth - 1)
    elif own is not None and own.get("WindowWidth") is not None:
        shares = _windowed(values, own)
    else:
        shares = _full_range(values, pixels != header.get("PixelPaddingValue"))
    if header.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    levels: Levels = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    return levels


def _check(header: Dataset) -> None:
    missing = [word for word in ("Rows", "Columns", "PhotometricInterpretation") if not header.get(word)]
    if missing:
        raise DataError(f"the DICOM header has no {', '.join(missing)}, so it is no image")
    if header.Rows * header.Columns > MAX_PIXELS:
        raise DataError(
            f"{header.Columns} x {header.Rows} pixels, more than {MAX_PIXELS // 10**6} million",
            remedy="store it at a smaller size",
        )


def _pixels(file: BinaryIO, header: Dataset, frame: int) -> Values:
    syntax = header.file_meta.TransferSyntaxUID
    try:
        # Of many frames only one is read; pydicom does so only where the pixels are a plain part of the file.
        if count_frames(header) > 1 and not syntax.is_deflated:
            return pixel_array(file, index=frame)
        file.seek(0)
        return pixel_array(dcmread(file), index=frame)
    except (RuntimeError, NotImplementedError) as error:
        raise DataError(
            f"compressed as {syntax.name}, which the installed decoders cannot read ({_one_line(error)})",
            remedy="pip install python-gdcm, or store the files uncompressed",
        ) from error


def _modality_values(pixels: Values, header: Dataset, frame: int) -> Values:
    if header.get("ModalityLUTSequence"):
        return apply_modality_lut(pixels, header)
    rescale = _holder(header, frame, "PixelValueTransformationSequence", "RescaleSlope")
    values = pixels.astype(np.float32)
    if rescale is not None:
        values = values * np.float32(rescale.RescaleSlope) + np.float32(rescale.get("RescaleIntercept") or 0)
    return values


def _windowed(values: Values, item: Dataset) -> Values:
    centre, width = _first(item.WindowCenter), _first(item.WindowWidth)
    function = item.get("VOILUTFunction") or "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        raise DataError(f"window width {width:g} is not allowed", remedy="set window in the configuration")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    return _linear(values, centre, width)


def _linear(values: Values, centre: float, width: float) -> Values:
    """Apply the LINEAR function of PS3.3 C.11.2.1.2.1, as shares of white before clipping."""
    if width == 1:
        return values > centre - 0.5
    return (values - (centre - 0.5)) / (width - 1) + 0.5


def _full_range(values: Values, valid: Values) -> Values:
    values = values - values.min(where=valid, initial=np.inf)
    brightest = values.max(where=valid, initial=0)
    return values / brightest if brightest > 0 and np.isfinite(brightest) else np.zeros_like(values)


def _top_eight_bits(colours: Values, depth: int) -> Levels:
    return colours.astype(np.uint8) if depth <= 8 else (colours >> (depth - 8)).astype(np.uint8)


def _holder(header: Dataset, frame: int, group: str, keyword: str) -> Dataset | None:
    """Return what holds ``keyword`` for a frame: its functional group, the shared one, or the header."""
    groups = [
        *(header.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1],
        *(header.get("SharedFunctionalGroupsSequence") or [])[:1],
    ]
    items = [item for functional in groups for item in (functional.get(group) or [])[:1]]
    return next((item for item in (*items, header) if item.get(keyword) is not None), None)


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, list) or hasattr(value, "__iter__") else value)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
