import stat
from pathlib import Path

import pytest

from federation.errors import StoreError
from federation.files import check_place, create_atomically, read_file, write_atomically


def test_a_file_is_written_whole_with_ordinary_permissions(tmp_path):
    write_atomically(tmp_path / "new" / "file", b"content")
    path = tmp_path / "new" / "file"
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        write_atomically(target, b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_is_checked_before_anything_is_written(tmp_path):
    check_place(tmp_path / "new" / "deeper" / "page.html")
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "page.html"):
        with pytest.raises(StoreError, match=r"cannot be written: .* folder"):
            check_place(place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_creating_never_replaces_what_is_there_and_leaves_no_litter(tmp_path):
    path = tmp_path / "new" / "file"
    create_atomically(path, b"first")
    create_atomically(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_creating_works_where_files_cannot_be_linked(tmp_path, monkeypatch):
    def unsupported(*_):
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    create_atomically(tmp_path / "file", b"content")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"content"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"space .*nowhere"):
        read_file(tmp_path / "nowhere", "space")
