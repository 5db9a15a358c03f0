import csv
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from site_agent.data import open_source
from site_agent.dataset_config import Columns, CsvConfig, FolderConfig, NpzConfig

pytestmark = pytest.mark.reference

TABLES = [
    "bccd_cells",
    "brain_mri4",
    "busi",
    "dtd10",
    "elpv_solar",
    "ham10000",
    "lung_ct3",
    "lung_histology",
    "mednist6",
    "oct_tiny",
    "pbc_blood",
]
ARRAYS = {
    "medmnist_official/breastmnist": (546, {"0": 147, "1": 399}),
    "medmnist_official/pneumoniamnist": (4708, {"0": 1214, "1": 3494}),
    "medmnist_official/retinamnist": (1080, {"0": 486, "1": 128, "2": 206, "3": 194, "4": 66}),
    "fashion_mnist_t10k/fashion_mnist_t10k": (10_000, {str(label): 1000 for label in range(10)}),
    "mnist_t10k/mnist_t10k": (10_000, None),
}


def spread(n):
    return range(0, n, max(1, n // 20))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_with_an_archive_of_images(shared, name):
    folder = shared / "datasets" / name
    columns = Columns(path="file", label="class", patient="group")
    config = CsvConfig(
        task=name, format="csv", table=folder / "labels.csv", images=folder / "images.zip", columns=columns
    )
    source = open_source(config)
    with (folder / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    assert source.class_counts() == Counter(row["class"] for row in rows)
    assert Counter(source.patients) == Counter(row["group"] for row in rows)
    assert {source.load(i).mode for i in spread(len(source))} == {"RGB"}


@pytest.mark.parametrize("name", TABLES)
def test_the_same_archive_as_folders_gives_the_same_images(shared, name):
    folder = shared / "datasets" / name
    folders = open_source(FolderConfig(task=name, format="folder", root=folder / "images.zip"))
    columns = Columns(path="file", label="class")
    table = open_source(
        CsvConfig(
            task=name,
            format="csv",
            table=folder / "labels.csv",
            images=folder / "images.zip",
            columns=columns,
        )
    )
    assert folders.class_counts() == table.class_counts()
    position = {table.name(i): i for i in range(len(table))}
    for i in spread(len(folders)):
        assert folders.load(i) == table.load(position[folders.name(i)])


@pytest.mark.parametrize("name", ARRAYS)
def test_an_archive_of_arrays(shared, name):
    path = shared / "datasets" / f"{name}.npz"
    source = open_source(NpzConfig(task="t", format="npz", file=path))
    n, counts = ARRAYS[name]
    assert len(source) == n
    assert counts is None or source.class_counts() == counts
    arrays = np.load(path)
    images = arrays["train_images" if source.splits else "images"]
    for i in spread(n):
        expected = np.asarray(Image.fromarray(images[i]).convert("RGB"))
        np.testing.assert_array_equal(np.asarray(source.load(i)), expected)
