import os

import numpy as np
import pytest
from pictures import make_folder, make_pixels, save, zip_folder

from federation.errors import DataError
from site_agent.data import open_source
from site_agent.dataset_config import FolderConfig


def open_folder(root, **options):
    return open_source(FolderConfig(task="t", format="folder", root=root, **options))


def test_each_sub_folder_is_a_class(tmp_path):
    source = open_folder(make_folder(tmp_path, {"normal": 2, "sick/a/b": 1, "sick": 1}))
    assert source.class_names == ("normal", "sick")
    assert [source.name(i) for i in range(4)] == [
        "normal/0.png",
        "normal/1.png",
        "sick/0.png",
        "sick/a/b/0.png",
    ]
    assert source.labels.tolist() == [0, 0, 1, 1]
    assert source.labels.dtype == np.int64
    assert source.patients is None
    assert source.splits is None
    assert source.class_counts() == {"normal": 2, "sick": 2}


def test_integer_class_names_sort_as_numbers(tmp_path):
    assert open_folder(make_folder(tmp_path, {"10": 1, "9": 1})).class_names == ("9", "10")


def test_images_load_as_rgb(tmp_path):
    source = open_folder(make_folder(tmp_path, {"a": 1, "b": 1}))
    image = source.load(1)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), make_pixels(100))


@pytest.mark.parametrize("prefix", ["", "pictures/"])
@pytest.mark.parametrize("method", [0, 8])
def test_a_zip_archive_reads_like_a_folder(tmp_path, prefix, method):
    root = make_folder(tmp_path / "root", {"a": 2, "b": 1})
    archive = zip_folder(root, tmp_path / "data.zip", method, prefix)
    folder, zipped = open_folder(root), open_folder(archive / prefix)
    assert [zipped.name(i) for i in range(3)] == [folder.name(i) for i in range(3)]
    for i in range(3):
        np.testing.assert_array_equal(np.asarray(zipped.load(i)), np.asarray(folder.load(i)))


def test_hidden_files_and_files_that_are_no_images_are_left_out(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1, ".cache": 1, "__MACOSX": 1})
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "a" / ".DS_Store").write_text("x")
    assert len(open_folder(tmp_path)) == 2


def test_train_is_used_where_the_folders_are_splits(tmp_path):
    make_folder(tmp_path, {"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 3})
    assert open_folder(tmp_path).class_counts() == {"a": 2, "b": 1}
    assert open_folder(tmp_path, split="test").class_counts() == {"a": 1, "b": 3}
    assert open_folder(tmp_path, split="all").class_counts() == {"a": 3, "b": 4}


def test_original_spellings_of_training_count_as_train(tmp_path):
    make_folder(tmp_path, {"Training/a": 1, "Training/b": 1, "Testing/a": 4})
    assert len(open_folder(tmp_path)) == 2


def test_an_unknown_split_is_refused_with_those_that_exist(tmp_path):
    make_folder(tmp_path, {"train/a": 2, "train/b": 1, "test/a": 1, "test/b": 3})
    with pytest.raises(DataError, match=r"split 'val' does not exist; splits found: .*'train' \(3 images\)"):
        open_folder(tmp_path, split="val")
    with pytest.raises(DataError, match="splits found: none"):
        open_folder(make_folder(tmp_path / "plain", {"a": 1, "b": 1}), split="train")


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist → correct the path"):
        open_folder(tmp_path / "nowhere")


def test_a_root_without_images_says_what_it_holds_instead(tmp_path):
    with pytest.raises(DataError, match="holds no images: it is empty"):
        open_folder(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.dcm").write_bytes(b"x")
    with pytest.raises(DataError, match=r'1 other files \(\.dcm: 1\) → set format = "dicom"'):
        open_folder(tmp_path)


def test_images_without_a_class_folder_are_explained(tmp_path):
    save(tmp_path / "x.png", make_pixels())
    with pytest.raises(DataError, match="holds images directly, not in one sub-folder per class"):
        open_folder(tmp_path)


def test_a_single_class_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds only the class 'a'"):
        open_folder(make_folder(tmp_path, {"a": 3}))


def test_loops_of_links_end(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    assert {"a/0.png", "b/0.png"} <= set(open_folder(tmp_path).listing.names)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    assert open_folder(tmp_path).class_counts()["linked"] == 1


def test_a_pipe_among_the_images_is_left_out(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1})
    os.mkfifo(tmp_path / "a" / "pipe.png")
    assert len(open_folder(tmp_path)) == 2


def test_a_link_to_nothing_is_reported_when_read(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"^a/link.png: link to a file that does not exist$"):
        open_folder(tmp_path).load(1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders_are_named(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "0.png").chmod(0)
    with pytest.raises(DataError, match=r"^a/0.png: this user may not read it$"):
        open_folder(tmp_path).load(0)
    (tmp_path / "b").chmod(0)
    try:
        with pytest.raises(DataError, match=r"folder .*b: this user may not read it → grant"):
            open_folder(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o755)


def test_names_that_are_not_utf8_can_be_listed_printed_and_read(tmp_path):
    make_folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "0.png").rename(tmp_path / "a" / os.fsdecode(b"na\xefve.png"))
    source = open_folder(tmp_path)
    assert source.name(0).encode() == "a/na\N{REPLACEMENT CHARACTER}ve.png".encode()
    assert source.load(0).size == (24, 20)
    assert len(source.digest()) == 64


def test_the_digest_changes_with_the_data_and_only_with_them(tmp_path):
    root = make_folder(tmp_path, {"a": 2, "b": 1})
    before = open_folder(root).digest()
    assert open_folder(root).digest() == before
    assert open_folder(root, title="other words").digest() == before
    assert open_folder(root, bit_depth=12).digest() != before
    assert open_folder(root).subset([0, 2]).digest() != before
    os.utime(root / "a" / "0.png", ns=(1, 1))
    touched = open_folder(root).digest()
    assert touched != before
    (root / "b" / "0.png").rename(root / "a" / "9.png")
    save(root / "b" / "1.png", make_pixels())
    assert open_folder(root).digest() not in (before, touched)


def test_a_subset_keeps_names_labels_and_class_names(tmp_path):
    part = open_folder(make_folder(tmp_path, {"a": 2, "b": 2})).subset([3, 0]).subset([0])
    assert (len(part), part.name(0), part.labels.tolist()) == (1, "b/1.png", [1])
    assert part.class_names == ("a", "b")
    np.testing.assert_array_equal(np.asarray(part.load(0)), make_pixels(101))
