import zipfile

import pytest
from pictures import make_folder, zip_folder

from federation.errors import DataError
from site_agent.data import tree as trees
from site_agent.data.tree import open_tree


@pytest.fixture
def archive(tmp_path):
    return zip_folder(make_folder(tmp_path / "root", {"a": 2}), tmp_path / "data.zip")


def test_a_text_file_is_no_root(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match=r"is neither a folder nor a \.zip file"):
        open_tree(tmp_path / "x.txt")


def test_a_damaged_archive_is_named(tmp_path, archive):
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"data\.zip cannot be read as a zip archive"):
        open_tree(archive)


def test_a_damaged_member_is_named_and_the_others_are_read(archive):
    tree = open_tree(archive)
    content = bytearray(archive.read_bytes())
    content[60] ^= 0xFF
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"^a/0\.png: damaged in data\.zip"):
        tree.open("a/0.png")
    assert tree.open("a/1.png").read(4) == b"\x89PNG"


def test_an_archive_that_shrank_since_it_was_listed_gives_an_error_per_image(archive):
    tree = open_tree(archive)
    archive.write_bytes(b"")
    with pytest.raises(DataError, match=r"^a/0\.png: damaged in data\.zip"):
        tree.open("a/0.png")


@pytest.mark.parametrize(
    ("flags", "method", "reason"), [(1, 8, "encrypted"), (0, 14, "compression method 14")]
)
def test_members_that_cannot_be_opened_say_why(archive, flags, method, reason):
    tree = open_tree(archive)
    member = tree._members["a/0.png"]
    member.flag_bits, member.compress_type = flags, method
    with pytest.raises(DataError, match=rf"^a/0\.png: damaged in data\.zip \({reason}"):
        tree.open("a/0.png")


def test_a_member_that_unpacks_to_more_than_it_announces_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/0.png", bytes(10**6))
    tree = open_tree(tmp_path / "bomb.zip")
    tree._members["a/0.png"].file_size = 10
    with pytest.raises(DataError, match="wrong checksum"):
        tree.open("a/0.png")
    monkeypatch.setattr(trees, "MAX_MEMBER_BYTES", 5)
    with pytest.raises(DataError, match="larger than"):
        tree.open("a/0.png")


def test_backslashes_in_archives_made_on_windows_are_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as file:
        file.writestr("a\\b\\0.png", b"x")
    assert [entry.path for entry in open_tree(tmp_path / "w.zip").files()] == ["a/b/0.png"]


def test_the_archive_may_be_preceded_by_other_bytes(archive):
    archive.write_bytes(b"#!/bin/sh self-extractor\n" + archive.read_bytes())
    assert open_tree(archive).open("a/1.png").read(4) == b"\x89PNG"
