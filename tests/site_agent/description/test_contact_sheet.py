from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from federation.errors import DataError
from site_agent.data import open_source
from site_agent.dataset_config import FolderConfig
from site_agent.description.contact_sheet import contact_sheet


def folder(tmp_path, n, *, damaged=0):
    for i in range(n):
        path = tmp_path / "abc"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 20 + i), (i, 0, 0)).save(path)
        if i < damaged:
            path.write_bytes(b"no picture")
    return open_source(FolderConfig(format="folder", task="t", root=tmp_path))


def opened(png):
    return Image.open(BytesIO(png))


@pytest.mark.parametrize(("n", "size"), [(2, (536, 272)), (4, (800, 536)), (30, (800, 800))])
def test_up_to_nine_images_are_laid_out_in_rows_of_three(tmp_path, n, size):
    assert opened(contact_sheet(folder(tmp_path, n), seed=0)).size == size


def test_the_seed_chooses_the_images(tmp_path):
    source = folder(tmp_path, 30)
    assert contact_sheet(source, 0) == contact_sheet(source, 0) != contact_sheet(source, 1)


def test_unreadable_images_are_passed_over(tmp_path):
    shown = np.asarray(opened(contact_sheet(folder(tmp_path, 12, damaged=10), seed=0)))
    assert shown.shape == (272, 536, 3)


def test_a_dataset_without_a_readable_image_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no image of .* can be read"):
        contact_sheet(folder(tmp_path, 4, damaged=4), seed=0)
