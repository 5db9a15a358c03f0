"""Pixel-wise evidence for a class: which pixels are stained, vessel, ink or bone."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from deploy.demo_images.patches import Mask, Pixels, Region

# Optical density of haematoxylin, eosin and DAB in red, green, blue (Ruifrok & Johnston 2001).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def dab_stained(rgb: Pixels) -> Mask:
    """Return where the brown DAB stain is present, by colour deconvolution.

    Args:
        rgb: uint8 [height, width, 3], a bright-field slide.
    """
    optical_density = -np.log((rgb.astype(np.float64) + 1) / 256)
    dab = optical_density @ np.linalg.inv(_STAINS)[:, 2]
    return dab > 0.45  # the valley between the two modes of the slide


def bare_glass(rgb: Pixels) -> Mask:
    """Return where a slide lets nearly all light through over more than a gap between fibres."""
    empty: Mask = _local_mean((rgb.min(axis=2) > 222).astype(np.uint8), 8) > 0.9
    return empty


def vessels(rgb: Pixels, contrast: float) -> Mask:
    """Return where a fundus photograph is darker in green than its surroundings, as blood vessels are.

    Args:
        rgb: uint8 [height, width, 3].
        contrast: How much darker, in gray levels.
    """
    green = rgb[..., 1]
    return _local_mean(green, 30) - _local_mean(green, 2) > contrast


def ink(gray: Pixels, contrast: float) -> Mask:
    """Return where a photographed page is darker than the paper around it.

    Args:
        gray: uint8 [height, width].
        contrast: How much darker than the local mean, in gray levels.
    """
    return _local_mean(gray, 15) - gray > contrast


def enclosed(space: Mask) -> Mask:
    """Return the part of ``space`` that does not reach the picture's corner: hollows inside the body."""
    parts, _ = ndimage.label(space)
    inside: Mask = space & (parts != parts[0, 0])
    return inside


def disc(shape: tuple[int, ...], row: int, column: int, radius: int) -> Mask:
    """Return a filled circle."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside: Mask = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return inside


def rectangle(shape: tuple[int, ...], region: Region) -> Mask:
    """Return a filled rectangle."""
    mask = np.zeros(shape[:2], dtype=bool)
    mask[region.top : region.bottom, region.left : region.right] = True
    return mask


def everywhere(shape: tuple[int, ...]) -> Mask:
    """Return the whole picture: the label of a picture that shows one thing only."""
    return np.ones(shape[:2], dtype=bool)


def _local_mean(gray: Pixels, radius: int) -> npt.NDArray[np.float64]:
    """Mean over a square window, from exact integer sums; the border is repeated outwards."""
    width = 2 * radius + 1
    padded = np.pad(gray.astype(np.int64), ((radius + 1, radius), (radius + 1, radius)), mode="edge")
    table = padded.cumsum(axis=0).cumsum(axis=1)
    sums = table[width:, width:] - table[:-width, width:] - table[width:, :-width] + table[:-width, :-width]
    mean: npt.NDArray[np.float64] = sums / width**2
    return mean
