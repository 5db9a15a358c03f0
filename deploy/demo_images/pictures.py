"""Reading the pictures that ship inside installed packages; nothing is ever downloaded."""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.pixels.utils import pixel_array

from deploy.demo_images.patches import Pixels
from federation.errors import ConfigError

_INSTALL = 'pip install "fedprint[demo]"'
_SKIMAGE, _SKLEARN, _PYDICOM = "scikit-image", "scikit-learn", "pydicom"
_FOLDERS = {_SKIMAGE: "skimage/data", _SKLEARN: "sklearn/datasets", _PYDICOM: "pydicom/data"}


def packaged_file(package: str, name: str) -> Path:
    """Return the path of a data file inside an installed package, without importing the package.

    Args:
        package: Distribution name, one of "scikit-image", "scikit-learn", "pydicom".
        name: File name below the package's data folder.

    Raises:
        ConfigError: If the package is missing, or its installed version does not hold the file.
    """
    module, _, folder = _FOLDERS[package].partition("/")
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"the demo needs the package {package}, which is not installed", remedy=_INSTALL)
    path = Path(spec.submodule_search_locations[0]) / folder / name
    if not path.is_file():
        raise ConfigError(f"the installed {package} does not hold the demo picture {name}", remedy=_INSTALL)
    return path


@cache
def photograph(name: str) -> Pixels:
    """Return a scikit-image picture as uint8 [height, width] gray or [height, width, 3] RGB."""
    with Image.open(packaged_file(_SKIMAGE, name)) as picture:
        return _read_only(np.asarray(picture))


@cache
def dicom(name: str) -> npt.NDArray[Any]:
    """Return the stored values of a pydicom test image, [height, width] or [frames, height, width, 3].

    Raises:
        ConfigError: If the installed Pillow cannot decode JPEG or JPEG 2000.
    """
    path = packaged_file(_PYDICOM, f"test_files/{name}")
    try:
        return _read_only(pixel_array(path))
    except RuntimeError as error:
        raise ConfigError(
            f"the demo picture {name} cannot be decoded here",
            remedy="install a Pillow with JPEG 2000 support, as the wheels on PyPI have",
        ) from error


@cache
def digits() -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Return scikit-learn's handwritten digits: uint8 [1797, 8, 8] in 0…16 and int64 [1797] labels."""
    with gzip.open(packaged_file(_SKLEARN, "data/digits.csv.gz"), "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",").astype(np.int64)
    return _read_only(table[:, :-1].astype(np.uint8).reshape(-1, 8, 8)), _read_only(table[:, -1])


def windowed(values: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """Return values mapped linearly from [low, high] to uint8 0…255, as a radiology viewer shows them."""
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _read_only(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    pixels = np.array(pixels)
    pixels.flags.writeable = False
    return pixels
