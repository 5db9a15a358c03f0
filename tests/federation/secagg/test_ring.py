"""Masks are published keystreams, cancel exactly, and integers survive the way into the ring and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from randomness import stream

from federation.errors import VectorError
from federation.secagg import ring

LENGTHS = [0, 1, 3, 17, 2**15 - 1, 2**15, 2**15 + 1, 51_200, 100_003]


def keystream(key, n_bytes):
    """AES-256 of the counter, block by block."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    blocks = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    counters = b"".join(i.to_bytes(16, "big") for i in range(-(-n_bytes // 16)))
    return blocks.update(counters)[:n_bytes]


def test_the_cipher_is_the_one_of_the_published_vector(monkeypatch):
    """NIST SP 800-38A, F.5.5: CTR-AES256.Encrypt; the mask is what is added to the plaintext."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = bytes.fromhex(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    expected = bytes(a ^ b for a, b in zip(plain, cipher, strict=True))
    monkeypatch.setattr(ring, "CTR", lambda nonce: _counter_mode(counter))
    for bits in ring.MODULI:
        vector = ring.zeros(64 * 8 // bits, bits)
        ring.add_mask(vector, key, 1)
        assert vector.astype(vector.dtype.newbyteorder("<")).tobytes() == expected


def _counter_mode(counter):
    from cryptography.hazmat.primitives.ciphers.modes import CTR

    return CTR(counter)


@pytest.mark.parametrize("bits", ring.MODULI)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_mask_is_the_keystream_from_counter_zero_in_little_endian_words(length, bits):
    key = stream(length)(32)
    vector = ring.zeros(length, bits)
    ring.add_mask(vector, key, 1)
    words = np.frombuffer(keystream(key, length * bits // 8), dtype=f"<u{bits // 8}")
    np.testing.assert_array_equal(vector, words)


@pytest.mark.parametrize("bits", ring.MODULI)
@pytest.mark.parametrize("length", LENGTHS)
def test_a_mask_that_is_taken_away_leaves_nothing(length, bits):
    values = np.random.default_rng(1).integers(-1000, 1000, length)
    vector = ring.encode(values, bits)
    ring.add_mask(vector, b"k" * 32, 1)
    ring.add_mask(vector, b"l" * 32, -1)
    ring.add_mask(vector, b"k" * 32, -1)
    ring.add_mask(vector, b"l" * 32, 1)
    np.testing.assert_array_equal(ring.centred(vector), values)


@settings(max_examples=50)
@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20), st.sampled_from(ring.MODULI))
def test_integers_come_back_from_the_ring(values, bits):
    array = np.array(values, dtype=np.int64)
    np.testing.assert_array_equal(ring.centred(ring.encode(array, bits)), array)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(-(2**28), 2**28), min_size=3, max_size=3), min_size=1, max_size=7))
def test_sums_in_the_ring_are_sums_of_integers(rows):
    arrays = [np.array(row, dtype=np.int64) for row in rows]
    total = sum((ring.encode(array, 32) for array in arrays), ring.zeros(3, 32))
    np.testing.assert_array_equal(ring.centred(total), sum(arrays))


def test_the_largest_numbers_of_64_bits_come_back():
    array = np.array([-(2**63), 2**63 - 1, 0, -1])
    np.testing.assert_array_equal(ring.centred(ring.encode(array, 64)), array)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_a_number_that_does_not_fit_is_refused_and_not_named(value):
    with pytest.raises(VectorError, match="does not fit into 32 bits") as caught:
        ring.encode(np.array([value]), 32)
    assert str(value) not in str(caught.value)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros(3, np.int32), np.zeros((3, 1), np.int64)])
def test_only_vectors_of_int64_are_encoded(values):
    with pytest.raises(VectorError, match="expected int64"):
        ring.encode(values, 32)


@pytest.mark.parametrize("bits", [0, 8, 16, 128])
def test_another_modulus_is_refused(bits):
    with pytest.raises(VectorError, match="expected one of"):
        ring.zeros(3, bits)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.float32, np.int64])
def test_a_mask_of_another_kind_of_vector_is_refused(dtype):
    with pytest.raises(VectorError, match="expected uint32 or uint64"):
        ring.add_mask(np.zeros(3, dtype), bytes(32), 1)
    with pytest.raises(VectorError, match="expected uint32 or uint64"):
        ring.centred(np.zeros(3, dtype))


@pytest.mark.parametrize(("key", "sign"), [(bytes(31), 1), (bytes(33), 1), (b"", -1), (bytes(32), 0)])
def test_a_key_or_sign_of_another_kind_is_refused(key, sign):
    with pytest.raises(VectorError, match="expected 32 and ±1"):
        ring.add_mask(ring.zeros(3, 32), key, sign)
