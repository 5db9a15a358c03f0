"""Models are kept once, found by their hash, and never more than fit."""

import errno
import os

import pytest
from factories import make_identity
from transfer_site import model_of, train, write_transfer_site

from federation.canonical import sha256_hex
from federation.errors import ModelError, StoreError
from federation.transfer import model as travelling
from site_agent.transfer import model_store
from site_agent.transfer.model_store import ModelStore

ID = sha256_hex(b"x" * 40)


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models", 100)


def test_what_was_kept_is_found_by_its_hash(store):
    assert store.keep_received(b"x" * 40) == ID
    assert store.get(ID) == b"x" * 40
    assert store.get("0" * 64) is None


def test_the_same_model_is_kept_once(store):
    for _ in range(3):
        store.keep_made(b"x" * 40)
    assert len(list(store.folder.glob("*.safetensors"))) == 1


def test_a_received_model_gives_way_to_a_newer_one_and_one_that_was_made_here_stays(store):
    made = store.keep_made(b"m" * 40)
    first, second = (store.keep_received(bytes([65 + i]) * 40) for i in range(2))
    assert store.get(made)
    assert store.get(first) is None
    assert store.get(second)


def test_rounds_of_common_trainings_never_fill_the_store(store):
    made = store.keep_made(b"m" * 40)
    rounds = [store.keep_passing(bytes([65 + i]) * 40) for i in range(5)]
    assert store.get(made)
    assert [bool(store.get(each)) for each in rounds] == [False] * 4 + [True]


def test_a_store_that_is_full_of_its_own_models_says_what_to_do(store):
    store.keep_made(b"m" * 80)
    with pytest.raises(StoreError, match="models_mb"):
        store.keep_made(b"n" * 40)
    with pytest.raises(StoreError, match="does not fit"):
        store.keep_received(b"n" * 40)
    assert store.get(sha256_hex(b"m" * 80))


def test_a_model_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(model_store, "MAX_MODEL_BYTES", 10)
    with pytest.raises(ModelError, match="40 bytes, more than the allowed 10"):
        ModelStore(tmp_path, 100).keep_received(b"x" * 40)


def test_a_model_that_is_too_large_is_refused_before_it_is_read(anna, tmp_path, monkeypatch):
    data = model_of(make_identity("bern", tmp_path)).to_bytes()
    monkeypatch.setattr(travelling, "MAX_MODEL_BYTES", 10)
    assert anna.ask(train(start=sha256_hex(data)), model=data).state == "model"


def test_an_id_that_is_none_is_no_path(store):
    with pytest.raises(ModelError, match="a model id is none"):
        store.get("../identity")


def test_a_full_disk_is_a_code_and_nothing_is_half_written(anna, monkeypatch):
    step = train(travels_to=("bern",))
    real = os.fsync

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert anna.ask(step).state == "running"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert anna.ask(step).state == "store"
    assert os.fsync is real
    leftovers = [path.name for path in anna.site.state.folder.glob("**/.*")]
    assert leftovers == []
    assert anna.finish(step)[-1].state == "done"


def test_a_site_whose_models_do_not_fit_says_so_and_goes_on_once_they_do(tmp_path, monkeypatch):
    step = train(travels_to=("bern",))
    site = write_transfer_site(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ModelStore, "_sizes", lambda *_: 2**40)
        assert site.finish(step)[-1].state == "store"
    assert "models_mb" in site.texts()
    assert site.finish(step)[-1].state == "done"
