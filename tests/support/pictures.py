"""Small image files and datasets for tests."""

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def make_pixels(seed: int = 0, size: tuple[int, int] = (24, 20)) -> npt.NDArray[np.uint8]:
    """Smooth colours, uint8 [height, width, 3], that survive JPEG compression nearly unchanged."""
    width, height = size
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))


def save(path: Path, pixels: npt.NDArray[np.generic] | Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def make_folder(root: Path, counts: dict[str, int], suffix: str = ".png") -> Path:
    """Make ``root/<name>/<i><suffix>``; names may hold slashes."""
    for seed, (name, n) in enumerate(counts.items()):
        for i in range(n):
            save(root / name / f"{i}{suffix}", make_pixels(100 * seed + i))
    return root


def zip_folder(root: Path, archive: Path, method: int = zipfile.ZIP_DEFLATED, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                file.write(path, prefix + path.relative_to(root).as_posix())
    return archive
