"""Sealing: who can open what, and that nothing altered, mixed up or impossible is opened."""

import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from federation import sealing
from federation.errors import SealError
from federation.identity import Identity
from federation.sealing import (
    Sealed,
    agreement_key,
    agreement_private_key,
    require_agreement_key,
    seal,
    unseal,
)

P = 2**255 - 19
CONTENT, PURPOSE = b"patient-ada-1815 " * 20, b"request"


def identity(name):
    seed = hashlib.sha256(name.encode()).digest()
    return Identity(name, Ed25519PrivateKey.from_private_bytes(seed))


NAMES = ("anna", "bern", "cork")
KEYS = [agreement_private_key(identity(name)) for name in NAMES]
RECIPIENTS = [agreement_key(identity(name).public_key) for name in NAMES]
STRANGER = agreement_private_key(identity("dora"))


@pytest.fixture(scope="module")
def sealed():
    return seal(CONTENT, RECIPIENTS, PURPOSE)


@pytest.mark.parametrize("key", KEYS)
def test_every_recipient_opens_what_was_sealed(sealed, key):
    assert unseal(sealed, key, PURPOSE) == CONTENT


def test_nobody_else_opens_it(sealed):
    with pytest.raises(SealError, match="a message for 3 keys is not sealed for this one"):
        unseal(sealed, STRANGER, PURPOSE)


def test_it_opens_for_its_purpose_alone(sealed):
    with pytest.raises(SealError, match="for another purpose"):
        unseal(sealed, KEYS[0], b"reply")


def test_it_is_as_long_as_promised_and_shows_nothing(sealed):
    assert (len(sealed.keys), len(sealed.content)) == (32 + 3 * 48, len(CONTENT) + 16)
    shown = sealed.keys + sealed.content
    assert not any(word in shown for word in (b"patient", *RECIPIENTS))
    assert b"patient" not in repr(sealed).encode()


def test_the_same_is_never_sealed_the_same_twice(sealed):
    again = seal(CONTENT, RECIPIENTS, PURPOSE)
    assert again.keys[:32] != sealed.keys[:32]
    assert again.content != sealed.content


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_change_of_any_bit_is_noticed_by_everybody_whom_it_concerns(sealed, data):
    name = data.draw(st.sampled_from(("keys", "content")))
    before = getattr(sealed, name)
    bit = data.draw(st.integers(0, 8 * len(before) - 1))
    altered = bytearray(before)
    altered[bit // 8] ^= 1 << bit % 8
    for key in KEYS:  # the keys of others are part of what is authenticated
        with pytest.raises(SealError):
            unseal(replace(sealed, **{name: bytes(altered)}), key, PURPOSE)


def test_wrapped_keys_do_not_change_places(sealed):
    public, first, second, third = (
        sealed.keys[:32],
        sealed.keys[32:80],
        sealed.keys[80:128],
        sealed.keys[128:],
    )
    for keys in (public + second + first + third, public + first + second, sealed.keys + third):
        for key in KEYS:
            with pytest.raises(SealError):
                unseal(replace(sealed, keys=keys), key, PURPOSE)


def test_keys_and_content_of_two_messages_do_not_mix(sealed):
    other = seal(CONTENT, RECIPIENTS, PURPOSE)
    with pytest.raises(SealError, match="altered"):
        unseal(Sealed(sealed.keys, other.content), KEYS[0], PURPOSE)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), st.binary(max_size=60))
def test_bytes_of_any_kind_are_refused_and_nothing_else_happens(keys, content):
    with pytest.raises(SealError):
        unseal(Sealed(keys, content), KEYS[0], PURPOSE)


@settings(deadline=None, max_examples=20)
@given(st.binary(max_size=200), st.integers(1, 12))
def test_whatever_is_sealed_for_however_many_is_opened_again(content, n):
    keys = [X25519PrivateKey.generate() for _ in range(n)]
    sealed = seal(content, [key.public_key().public_bytes_raw() for key in keys], PURPOSE)
    assert all(unseal(sealed, key, PURPOSE) == content for key in keys)


def test_sizes_are_judged_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr(sealing, "_agree", lambda *_: pytest.fail("computed"))
    for n in (0, sealing.MAX_RECIPIENTS + 1):
        with pytest.raises(SealError, match=f"sealed for {n} keys"):
            seal(b"", [bytes(32)] * n, PURPOSE)
        with pytest.raises(SealError, match=f"sealed for {n} keys"):
            unseal(Sealed(bytes(32 + 48 * n), bytes(16)), KEYS[0], PURPOSE)
    monkeypatch.setattr(sealing, "MAX_CONTENT_BYTES", 10)
    with pytest.raises(SealError, match="a sealed message of 11 bytes"):
        seal(bytes(11), RECIPIENTS, PURPOSE)
    with pytest.raises(SealError, match="a sealed message of 11 bytes"):
        unseal(Sealed(bytes(80), bytes(27)), KEYS[0], PURPOSE)
    with pytest.raises(SealError, match="a sealed message of -1 bytes"):
        unseal(Sealed(bytes(80), bytes(15)), KEYS[0], PURPOSE)


# The points of small order of Curve25519 and of its twist (RFC 7748, section 6.1; D. J. Bernstein).
SMALL_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
]


@pytest.mark.parametrize("u", SMALL_ORDER)
def test_a_point_of_small_order_is_nobodys_key(sealed, u):
    point = u.to_bytes(32, "little")
    with pytest.raises(SealError, match="impossible"):
        require_agreement_key(point.hex())
    with pytest.raises(SealError, match="impossible"):
        seal(CONTENT, [point], PURPOSE)
    with pytest.raises(SealError, match="impossible"):
        unseal(replace(sealed, keys=point + sealed.keys[32:]), KEYS[0], PURPOSE)


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=32, max_size=32))
def test_both_halves_of_an_identity_map_to_one_pair(seed):
    own = Identity("anna", Ed25519PrivateKey.from_private_bytes(seed))
    assert agreement_private_key(own).public_key().public_bytes_raw() == agreement_key(own.public_key)


def test_the_map_is_that_of_the_standard():
    """The base point of Ed25519 (y = 4/5) is that of Curve25519 (u = 9): RFC 7748, section 4.1."""
    base = (4 * pow(5, -1, P) % P).to_bytes(32, "little")
    assert int.from_bytes(agreement_key(base.hex()), "little") == 9


# y of the points of small order of Ed25519: the neutral one, (0, −1), (±√−1, 0) and those of order eight.
EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303402022
FALSE_KEYS = {
    "the neutral point": 1,
    "order two": P - 1,
    "order four": 0,
    "order eight": EIGHTH,
    "the other of order eight": P - EIGHTH,
    "not reduced": P + 3,
    "no point of the curve": 2,
}


def test_the_points_of_order_eight_are_those_of_both_curves():
    assert {(1 + y) * pow(1 - y, -1, P) % P for y in (EIGHTH, P - EIGHTH)} == set(SMALL_ORDER[2:4])


@pytest.mark.parametrize("y", FALSE_KEYS.values(), ids=FALSE_KEYS)
def test_what_is_no_key_of_an_identity_is_refused(y):
    with pytest.raises(SealError, match="nothing can be sealed for the key"):
        agreement_key(y.to_bytes(32, "little").hex())


@pytest.mark.parametrize("digits", ["", "00", "zz" * 32, "ab" * 33])
def test_what_is_not_32_bytes_is_no_key(digits):
    with pytest.raises(SealError):
        agreement_key(digits)
    with pytest.raises(SealError):
        require_agreement_key(digits)


def test_the_signing_key_is_the_scalar_that_signs():
    """Which is the first half of SHA-512 of the seed, clamped (RFC 8032, section 5.1.5)."""
    seed = identity("anna").private_key.private_bytes_raw()
    half = hashlib.sha512(seed).digest()[:32]
    assert agreement_private_key(identity("anna")).private_bytes_raw()[1:31] == half[1:31]
