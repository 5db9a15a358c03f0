import stat

import pytest
from factories import make_identity

from federation.errors import SignatureError, StoreError
from federation.identity import Identity, verify


def test_the_key_is_made_once_and_readable_only_by_its_owner(tmp_path):
    first, second = make_identity("a", tmp_path), make_identity("a", tmp_path)
    assert first.public_key == second.public_key
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_a_key_that_could_not_be_written_whole_does_not_exist(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_identity("a", tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert make_identity("a", tmp_path).public_key == make_identity("a", tmp_path).public_key


def test_a_signature_verifies_and_a_changed_message_does_not(tmp_path):
    identity = make_identity("a", tmp_path)
    signature = identity.sign(b"message")
    verify(identity.public_key, signature, b"message", "a note")
    with pytest.raises(SignatureError, match="a note"):
        verify(identity.public_key, signature, b"massage", "a note")


@pytest.mark.parametrize("key", ["", "zz", "ab", "00" * 31])
def test_a_malformed_public_key_is_a_signature_error(tmp_path, key):
    with pytest.raises(SignatureError):
        verify(key, b"0" * 64, b"message", "a note")


def test_a_damaged_key_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "a.key"
    path.write_text("not a key")
    with pytest.raises(StoreError, match="restore the file"):
        Identity.load_or_create("a", path)
    assert path.read_text() == "not a key"


def test_the_private_key_never_shows_in_repr(tmp_path):
    identity = make_identity("a", tmp_path)
    secret = (tmp_path / "a.key").read_text()
    assert secret not in repr(identity)
    assert "private_key" not in repr(identity)
