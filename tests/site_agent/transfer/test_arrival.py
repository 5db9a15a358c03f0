"""Models that come in: nothing forged, altered, pickled or from the wrong site is ever loaded."""

import pickle

import numpy as np
import pytest
from factories import make_identity
from transfer_site import EXACT, cotrain, model_of, train, write_transfer_site

from federation.canonical import sha256_hex
from federation.container import pack
from federation.transfer.recipe import Network
from site_agent.transfer.arrival import store_of


@pytest.fixture
def bern(tmp_path):
    return make_identity("bern", tmp_path)


def begun_at(data, **changes):
    return train(start=sha256_hex(data), **changes)


def kept(site):
    return list(site.site.state.folder.glob("models/**/*.safetensors"))


def test_a_model_is_asked_for_once_and_then_known(anna, bern):
    data = model_of(bern).to_bytes()
    step = begun_at(data)
    assert anna.ask(step).state == "wants-model"
    assert [reply.state for reply in anna.finish(step, model=data)] == ["running", "done"]
    assert anna.ask(begun_at(data, seed=1)).state == "running"


def test_a_model_of_another_hash_is_refused_and_the_right_one_is_taken_later(anna, bern):
    data, other = model_of(bern).to_bytes(), model_of(bern, task="hips").to_bytes()
    assert anna.ask(begun_at(data), model=other).state == "model"
    assert kept(anna) == []
    assert anna.finish(begun_at(data), model=data)[-1].state == "done"


def test_a_forged_signature_is_refused(anna, bern, tmp_path):
    model = model_of(bern)
    forged = model_of(make_identity("eve", tmp_path), site="bern")
    altered = pack(model._header() | {"signature": model.signature.hex()}, {"w": np.zeros(3, np.float32)})
    usurped = pack(
        forged._header() | {"public_key": bern.public_key, "signature": forged.signature.hex()},
        forged.weights,
    )
    for data in (altered, usurped):
        assert anna.ask(begun_at(data), model=data).state == "signature"
    assert kept(anna) == []


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize("data", [pickle.dumps(Payload()), b"", b"PK\x03\x04", b"\x00" * 64])
def test_whatever_is_no_safetensors_file_is_never_loaded(anna, data):
    state = anna.ask(begun_at(data), model=data).state
    assert state == ("model" if data else "wants-model")
    assert kept(anna) == []


def test_a_model_with_something_that_is_not_finite_is_refused(anna, bern):
    data = model_of(bern, weights={"w": np.array([np.nan], np.float32)}).to_bytes()
    assert anna.ask(begun_at(data), model=data).state == "model"


def test_a_model_of_another_architecture_is_refused(anna, bern):
    data = model_of(bern, network=Network(name="resnet18", image_size=32)).to_bytes()
    assert anna.ask(begun_at(data), model=data).state == "model"
    assert "resnet18" in anna.texts()
    assert kept(anna) == []


def test_a_model_from_an_untrusted_key_is_refused(tmp_path, bern):
    data = model_of(bern).to_bytes()
    site = write_transfer_site(tmp_path, everywhere={"model_sources": {"bern": "ab" * 32}})
    assert site.ask(begun_at(data), model=data).state == "policy"
    site = write_transfer_site(tmp_path, everywhere={"model_sources": {"bern": bern.public_key}})
    assert site.ask(begun_at(data), model=data).state == "running"


def test_a_kept_model_is_refused_once_its_site_is_not_trusted_any_more(tmp_path, bern):
    data = model_of(bern).to_bytes()
    site = write_transfer_site(tmp_path)
    assert site.ask(begun_at(data), model=data).state == "running"
    write_transfer_site(tmp_path, everywhere={"model_sources": {}})
    assert site.ask(begun_at(data)).state == "policy"


def test_nobody_else_can_make_a_model_in_the_sites_own_name(anna, tmp_path):
    data = model_of(make_identity("anna", tmp_path / "elsewhere")).to_bytes()
    assert anna.ask(begun_at(data), model=data).state == "policy"


def test_what_stays_does_not_leave_by_way_of_a_model_that_begins_at_it(anna):
    stays = anna.finish(train(travels_to=("anna",)))[-1].result.model_id
    left = anna.finish(train(travels_to=("bern",), seed=1))[-1].result.model_id
    assert anna.ask(train(travels_to=("bern",), start=stays)).state == "policy"
    assert anna.ask(train(travels_to=("bern",), start=left)).state == "running"
    assert anna.ask(train(start=stays)).state == "running"


def test_a_model_is_begun_at_only_where_it_was_let_leave_for(tmp_path, bern):
    anna = write_transfer_site(tmp_path / "anna", EXACT | {"models_to": "any"})
    for_cork = model_of(bern, travels_to=("cork",)).to_bytes()
    assert anna.ask(begun_at(for_cork), model=for_cork).state == "policy"
    for_anna = model_of(bern, travels_to=("anna", "cork")).to_bytes()
    assert anna.ask(begun_at(for_anna), model=for_anna).state == "running"
    assert anna.ask(begun_at(for_anna, travels_to=("bern", "cork"))).state == "running"
    assert anna.ask(begun_at(for_anna, travels_to=("dover",))).state == "policy"


def test_an_average_is_loaded_where_all_whose_models_it_holds_are_trusted(tmp_path, bern):
    transfer = EXACT | {"models_to": ["bern", "cork"]}
    site = write_transfer_site(tmp_path, transfer, {"model_sources": {"bern": bern.public_key}})
    data = model_of(site.hub).to_bytes()
    start = sha256_hex(data)
    assert site.ask(cotrain(start=start), model=data).state == "running"
    assert site.ask(cotrain(start=start, partners=("anna", "bern", "cork"))).state == "policy"
    assert site.ask(train(start=start)).state == "policy"


def test_a_model_that_was_damaged_here_is_asked_for_again(anna, bern):
    data = model_of(bern).to_bytes()
    anna.ask(begun_at(data), model=data)
    (path,) = kept(anna)
    path.write_bytes(data[:-1])
    assert anna.ask(begun_at(data)).state == "wants-model"
    assert anna.finish(begun_at(data), model=data)[-1].state == "done"


def test_no_model_is_kept_twice(anna, bern):
    data = model_of(bern).to_bytes()
    for seed in range(3):
        anna.ask(begun_at(data, seed=seed), model=data)
    assert len(kept(anna)) == 1
    assert store_of(anna.site).get(sha256_hex(data)) == data
