"""A picture of a few random images of a dataset, to look at while describing it; it stays at the site."""

from io import BytesIO

import numpy as np
from PIL import Image

from federation.errors import DataError
from site_agent.data import ImageSource

N_IMAGES = 9
_COLUMNS = 3
_SIDE = 256
_GAP = 8


def contact_sheet(source: ImageSource, seed: int) -> bytes:
    """Return a PNG of up to nine images drawn at random; images that cannot be read are passed over.

    Args:
        source: The dataset.
        seed: Seed of the draw.

    Raises:
        DataError: If no image can be read.
    """
    images = []
    for index in np.random.default_rng(seed).permutation(len(source)):
        try:
            images.append(source.load(int(index), min_side=_SIDE))
        except DataError:
            continue
        if len(images) == N_IMAGES:
            break
    if not images:
        raise DataError(f"no image of {source.origin} can be read", remedy="check the dataset's files")
    return _as_png(_laid_out(images))


def _laid_out(images: list[Image.Image]) -> Image.Image:
    rows = -(-len(images) // _COLUMNS)
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (min(_COLUMNS, len(images)) * step + _GAP, rows * step + _GAP), "white")
    for i, image in enumerate(images):
        shown = _fitted(image)
        row, column = divmod(i, _COLUMNS)
        left, top = _GAP + column * step, _GAP + row * step
        sheet.paste(shown, (left + (_SIDE - shown.width) // 2, top + (_SIDE - shown.height) // 2))
    return sheet


def _fitted(image: Image.Image) -> Image.Image:
    scale = _SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _as_png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
