import zipfile

import numpy as np
import pytest

from federation.errors import DataError
from site_agent.data import npz, open_source
from site_agent.dataset_config import NpzConfig

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
LABELS = np.array([[0], [1], [2], [0], [1], [10]])


def open_npz(path, compressed=True, options=None, **arrays):
    (np.savez_compressed if compressed else np.savez)(path / "x.npz", **arrays)
    return open_source(NpzConfig(task="t", format="npz", file=path / "x.npz", **(options or {})))


def medmnist(**changes):
    parts = {"train": slice(0, 3), "val": slice(3, 4), "test": slice(4, 6)}
    arrays = {f"{split}_images": IMAGES[part] for split, part in parts.items()}
    arrays |= {f"{split}_labels": LABELS[part] for split, part in parts.items()}
    return arrays | changes


@pytest.mark.parametrize("compressed", [True, False])
def test_plain_images_and_labels(tmp_path, compressed):
    source = open_npz(tmp_path, compressed, images=IMAGES, labels=LABELS[:, 0])
    assert source.class_names == ("0", "1", "2", "10")
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 3]
    assert (source.splits, source.patients, source.name(3)) == (None, None, "x.npz[3]")
    for i in (5, 0, 3):
        assert source.load(i).mode == "RGB"
        np.testing.assert_array_equal(np.asarray(source.load(i))[:, :, 1], IMAGES[i])


@pytest.mark.parametrize("compressed", [True, False])
def test_medmnist_uses_train_unless_told_otherwise(tmp_path, compressed):
    source = open_npz(tmp_path, compressed, **medmnist())
    assert (len(source), source.splits) == (3, ("train",) * 3)
    source = open_npz(tmp_path, compressed, {"split": "all"}, **medmnist())
    assert [source.name(i) for i in (0, 3, 5)] == ["x.npz[train_0]", "x.npz[val_0]", "x.npz[test_1]"]
    np.testing.assert_array_equal(np.asarray(source.load(5))[:, :, 0], IMAGES[5])
    with pytest.raises(DataError, match=r"splits found: 'train' \(3 images\), 'val' \(1 images\), 'test'"):
        open_npz(tmp_path, compressed, {"split": "validation"}, **medmnist())


def test_classes_may_be_given_names(tmp_path):
    options = {"class_names": ["no", "yes", "maybe"]}
    source = open_npz(tmp_path, options=options, images=IMAGES[:5], labels=LABELS[:5])
    assert (source.class_names, source.labels.tolist()) == (("no", "yes", "maybe"), [0, 1, 2, 0, 1])
    with pytest.raises(DataError, match="label 10 has no name among the 3 class_names"):
        open_npz(tmp_path, options=options, images=IMAGES, labels=LABELS)


def test_text_labels_are_class_names(tmp_path):
    source = open_npz(tmp_path, images=IMAGES[:2], labels=np.array(["b", "a"]))
    assert (source.class_names, source.labels.tolist()) == (("a", "b"), [1, 0])


FINDINGS = np.array([[0, 0, 0], [1, 0, 1], [0, 1, 0], [1, 0, 1]])


def test_each_combination_of_several_labels_is_a_class(tmp_path):
    source = open_npz(tmp_path, images=IMAGES[:4], labels=FINDINGS)
    assert source.class_counts() == {"0+2": 2, "1": 1, "none": 1}
    named = open_npz(
        tmp_path, options={"class_names": ["mass", "nodule", "hernia"]}, images=IMAGES[:4], labels=FINDINGS
    )
    assert named.class_names == ("mass+hernia", "nodule", "none")


def test_one_of_several_labels_may_be_chosen(tmp_path):
    source = open_npz(tmp_path, options={"label_column": 2}, images=IMAGES[:4], labels=FINDINGS)
    assert source.class_counts() == {"0": 2, "1": 2}
    with pytest.raises(
        DataError, match=r"label_column is 3, there are 3 label columns → choose one from 0 to 2"
    ):
        open_npz(tmp_path, options={"label_column": 3}, images=IMAGES[:4], labels=FINDINGS)


@pytest.mark.parametrize("shape", [(4, 8, 7), (4, 8, 7, 1), (4, 8, 7, 3), (4, 3, 8, 7), (4, 1, 8, 7)])
def test_grey_colour_and_channels_first_arrays_are_understood(tmp_path, shape):
    images = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    image = open_npz(tmp_path, images=images, labels=[0, 1, 0, 1]).load(2)
    assert image.size == (7, 8)
    expected = np.moveaxis(images[2], 0, 2) if shape[1] in (1, 3) else images[2].reshape(8, 7, -1)
    np.testing.assert_array_equal(np.asarray(image), np.broadcast_to(expected, (8, 7, 3)))


def test_deeper_types_follow_the_rules_of_image_files(tmp_path):
    images = np.array([[[0, 4095]], [[4095, 0]]], np.uint16)
    source = open_npz(tmp_path, options={"bit_depth": 12}, images=images, labels=[0, 1])
    assert np.asarray(source.load(0))[0, :, 0].tolist() == [0, 255]
    with pytest.raises(DataError, match=r"^x\.npz\[1\]: brightest value is 4095"):
        open_npz(tmp_path, images=images, labels=[0, 1]).load(1)


def test_an_unknown_layout_lists_the_arrays(tmp_path):
    with pytest.raises(
        DataError, match=r"x\.npz has an unknown layout: it holds \{'x': \[6, 5, 4\], 'y': \[6, 1\]\}"
    ):
        open_npz(tmp_path, x=IMAGES, y=LABELS)


def test_an_empty_archive_has_no_images(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        open_npz(tmp_path, images=IMAGES[:0], labels=LABELS[:0])


def test_images_without_the_right_number_of_labels_are_refused(tmp_path):
    with pytest.raises(DataError, match="3 train_images, but 2 train_labels"):
        open_npz(tmp_path, **medmnist(train_labels=LABELS[:2]))


@pytest.mark.parametrize("images", [np.zeros((6, 5, 5, 5)), np.zeros((6, 25)), np.full((6, 5, 5), "x")])
def test_volumes_tables_and_text_are_no_images(tmp_path, images):
    with pytest.raises(DataError, match=r"images has shape \[6, .* → expected numbers"):
        open_npz(tmp_path, images=images, labels=LABELS)


def test_labels_of_a_wrong_kind_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"labels\.npy has shape \[6\] and type float64"):
        open_npz(tmp_path, images=IMAGES, labels=np.zeros(6))


def test_pickled_arrays_are_refused_and_never_unpickled(tmp_path):
    with pytest.raises(DataError, match="type object"):
        open_npz(tmp_path, images=np.array([IMAGES[0], None], dtype=object), labels=[0, 1])


def test_fortran_order_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"is in Fortran order: save np\.ascontiguousarray of it"):
        open_npz(tmp_path, images=np.asfortranarray(IMAGES), labels=LABELS)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.npz cannot be read as a NumPy archive"):
        open_source(NpzConfig(task="t", format="npz", file=tmp_path / "gone.npz"))
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"x\.npz cannot be read as a NumPy archive"):
        open_source(NpzConfig(task="t", format="npz", file=tmp_path / "x.npz"))


def test_a_damaged_image_array_is_reported_per_image(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 50, 50), dtype=np.uint8)
    source = open_npz(tmp_path, images=images, labels=LABELS)
    path = tmp_path / "x.npz"
    content = bytearray(path.read_bytes())
    content[5000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^x\.npz\[0\]: images\.npy is damaged"):
        source.load(0)


def test_too_little_room_to_unpack_says_where_and_what_to_do(tmp_path, monkeypatch):
    source = open_npz(tmp_path, images=IMAGES, labels=LABELS)
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(npz.shutil, "disk_usage", lambda path: full)
    for _ in range(2):
        with pytest.raises(DataError, match=r"^x\.npz\[0\]: unpacking .* has 0 MiB free → set TMPDIR"):
            source.load(0)


def test_a_failed_unpacking_is_not_repeated_for_every_image(tmp_path, monkeypatch):
    source = open_npz(tmp_path, images=IMAGES, labels=LABELS)
    (tmp_path / "x.npz").unlink()
    for i in range(2):
        with pytest.raises(
            DataError, match=rf"^x\.npz\[{i}\]: images\.npy cannot be unpacked \(No such file"
        ):
            source.load(i)
        monkeypatch.setattr(npz, "_unpacked", None)


def test_stored_arrays_are_read_in_place(tmp_path, monkeypatch):
    source = open_npz(tmp_path, compressed=False, images=IMAGES, labels=LABELS)
    assert zipfile.ZipFile(tmp_path / "x.npz").infolist()[0].compress_type == zipfile.ZIP_STORED
    monkeypatch.setattr(npz, "_unpacked", None)
    np.testing.assert_array_equal(np.asarray(source.load(4))[:, :, 0], IMAGES[4])


def test_only_the_arrays_of_the_chosen_split_are_unpacked(tmp_path, monkeypatch):
    unpacked = []
    original = npz._unpacked
    monkeypatch.setattr(
        npz, "_unpacked", lambda path, member: unpacked.append(member.filename) or original(path, member)
    )
    source = open_npz(tmp_path, **medmnist())
    for i in range(3):
        source.load(i)
    assert unpacked == ["train_images.npy"]
