"""Models that travel: one encoding, one id, one signer, plain finite tensors."""

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.canonical import sha256_hex
from federation.container import pack
from federation.errors import ModelError, SignatureError
from federation.identity import Identity
from federation.transfer import model as travelling
from federation.transfer.model import TravellingModel
from federation.transfer.recipe import Network
from federation.transfer.result import ModelPrivacy

WEIGHTS = {"conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bn.num_batches_tracked": np.array(3)}
ANNA = Identity("anna", Ed25519PrivateKey.from_private_bytes(bytes(32)))
PRIVACY = ModelPrivacy(rho="1/8", eps=2.5, delta=1e-6, unit="patient")


@pytest.fixture
def model():
    return TravellingModel(
        Network(name="resnet18"), "batch", "anna", "digits", "ab" * 32, WEIGHTS, PRIVACY, ("bern", "cork")
    ).signed(ANNA)


def read(data):
    return TravellingModel.from_bytes(data, sha256_hex(data))


def test_a_model_reads_back(model):
    again = read(model.to_bytes())
    assert again.address == "anna/digits"
    assert (again.network, again.normalization, again.privacy) == (model.network, "batch", PRIVACY)
    assert (again.travels_to, again.public_key) == (("bern", "cork"), ANNA.public_key)
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(again.weights[name], array)
    assert again.to_bytes() == model.to_bytes()


def test_another_file_than_the_named_one_is_refused(model):
    with pytest.raises(ModelError, match="SHA-256"):
        TravellingModel.from_bytes(model.to_bytes(), "ab" * 32)


def test_a_changed_byte_is_noticed_anywhere(model):
    data = model.to_bytes()
    for position in range(0, len(data), 7):
        altered = bytearray(data)
        altered[position] ^= 1
        with pytest.raises((ModelError, SignatureError)):
            read(bytes(altered))


def test_another_origin_under_the_same_signature_is_refused(model):
    for change in ({"site": "bern"}, {"task": "moles"}, {"privacy": None}, {"normalization": "group"}):
        with pytest.raises(SignatureError):
            read(replace(model, **change).to_bytes())


def test_a_pickle_is_not_even_looked_at():
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    content = io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, content)
    for data in (pickle.dumps(Evil()), content.getvalue(), b"", b"\x00" * 100):
        with pytest.raises(ModelError):
            read(data)


@pytest.mark.parametrize(
    "array",
    [np.array([np.nan], np.float32), np.array([np.inf], np.float32), np.ones(2), np.ones(2, np.uint8)],
)
def test_tensors_that_are_not_finite_or_of_another_type_are_refused(model, array):
    bad = replace(model, weights={"w": array}).signed(ANNA)
    with pytest.raises(ModelError, match="tensor w"):
        read(bad.to_bytes())


def test_a_header_without_its_fields_is_malformed():
    with pytest.raises(ModelError, match="malformed"):
        read(pack({"schema": 1}, {}))


def test_a_model_larger_than_allowed_is_refused(model, monkeypatch):
    monkeypatch.setattr(travelling, "MAX_MODEL_BYTES", 100)
    with pytest.raises(ModelError, match="more than the allowed"):
        read(model.to_bytes())


def test_weights_and_signature_are_not_shown(model):
    assert "array" not in repr(model)
    assert "signature" not in repr(model)
