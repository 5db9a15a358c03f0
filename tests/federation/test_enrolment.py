import json
from dataclasses import replace

import pytest
from factories import make_space
from hypothesis import given
from hypothesis import strategies as st
from memberships import DAY, HUB, NOW, new_identity

from aggregator.certificates import new_authority
from federation.canonical import canonical_json
from federation.enrolment import Enrolment, Rotation, is_rotation
from federation.errors import EnrolmentError, SignatureError
from federation.invitation import Invitation, encode_space, is_token, token_hash
from federation.node_key import new_node_key, public_text, read_node_key

REFUSED = (EnrolmentError, SignatureError)
ANNA = new_identity("anna")
KEY, OLD_KEY, OTHER_KEY = (read_node_key(new_node_key()) for _ in range(3))
SPACE = make_space()
INVITATION = Invitation(
    "anna",
    "Hearts",
    "hub.example.org:8000",
    new_authority("Hearts").certificate.decode(),
    HUB.public_key,
    SPACE.space_id,
    encode_space(SPACE.to_bytes()),
    "ab" * 32,
    "cd" * 32,
    NOW,
    NOW + 14 * DAY,
).signed(HUB)
COMMON = ("anna", "Hearts", HUB.public_key, INVITATION.ca_sha256, ANNA.public_key, public_text(KEY), NOW)
ENROLMENT = Enrolment(*COMMON, "cd" * 32).signed(ANNA, KEY)
ROTATION = Rotation(*COMMON, 1).signed(ANNA, KEY, OLD_KEY)
DOCUMENTS = [INVITATION, ENROLMENT, ROTATION]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_read_back(document):
    assert type(document).from_bytes(document.to_bytes()) == document


@pytest.mark.parametrize("document", DOCUMENTS)
@given(data=st.data())
def test_no_field_can_be_changed(document, data):
    content = json.loads(document.to_bytes())
    field = data.draw(st.sampled_from(sorted(content)))
    values = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
    if isinstance(content[field], str):
        values |= st.integers(0, len(content[field]) - 1).map(lambda i: _flipped(content[field], i))
    value = data.draw(values.filter(lambda v: canonical_json(v) != canonical_json(content[field])))
    with pytest.raises(REFUSED):
        type(document).from_bytes(canonical_json({**content, field: value}))


def _flipped(text: str, i: int) -> str:
    return text[:i] + ("1" if text[i] != "1" else "2") + text[i + 1 :]


@pytest.mark.parametrize("document", DOCUMENTS)
@given(position=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_no_byte_can_be_changed(document, position, byte):
    data = bytearray(document.to_bytes().strip())
    if data[position % len(data)] == byte:
        return
    data[position % len(data)] = byte
    with pytest.raises(REFUSED):
        type(document).from_bytes(bytes(data))


def test_an_invitation_that_another_hub_signed_again_names_that_hub():
    stranger = new_identity("stranger")
    with pytest.raises(SignatureError):
        Invitation.from_bytes(INVITATION.signed(stranger).to_bytes())
    forged = replace(INVITATION, hub_key=stranger.public_key).signed(stranger)
    assert Invitation.from_bytes(forged.to_bytes()).hub_key == stranger.public_key


def test_an_invitation_with_another_space_than_it_names_is_refused():
    other = replace(INVITATION, space=encode_space(make_space(10).to_bytes())).signed(HUB)
    with pytest.raises(EnrolmentError, match="not the one that it names"):
        Invitation.from_bytes(other.to_bytes())


@pytest.mark.parametrize("space", ["AAAA", "A", "*"])
def test_an_invitation_without_a_readable_space_is_refused(space):
    with pytest.raises(EnrolmentError, match="not the one that it names"):
        Invitation.from_bytes(replace(INVITATION, space=space).signed(HUB).to_bytes())


def test_an_invitation_is_answered_between_its_two_moments():
    INVITATION.check_time(NOW)
    INVITATION.check_time(NOW + 14 * DAY - 1)
    with pytest.raises(EnrolmentError, match="has expired"):
        INVITATION.check_time(NOW + 14 * DAY)
    with pytest.raises(EnrolmentError, match="in the future"):
        INVITATION.check_time(NOW - DAY)


def test_a_token_is_kept_only_as_a_hash():
    kept = token_hash("cd" * 32)
    assert is_token("cd" * 32, kept)
    assert not is_token("ce" * 32, kept)
    assert "cdcd" not in kept
    assert "cdcd" not in repr(INVITATION)


@pytest.mark.parametrize(
    ("document", "signed"),
    [
        (ENROLMENT, lambda key: replace(ENROLMENT, node_signature="").signed(ANNA, key)),
        (ROTATION, lambda key: Rotation(*COMMON, 1).signed(ANNA, key, OLD_KEY)),
    ],
)
def test_whoever_names_a_node_key_must_hold_it(document, signed):
    with pytest.raises(SignatureError, match="holds the node key"):
        type(document).from_bytes(signed(OTHER_KEY).to_bytes())


def test_a_node_signature_does_not_fit_another_request():
    """Somebody who intercepts an enrolment cannot put an identity of his own in front of its node key."""
    thief = new_identity("thief")
    stolen = replace(ENROLMENT, identity_key=thief.public_key)
    values = {**json.loads(stolen.to_bytes()), "signature": "00" * 64}
    with pytest.raises(SignatureError):
        Enrolment.from_bytes(canonical_json(values))
    resigned = _signed_again(stolen, thief)
    with pytest.raises(SignatureError, match="holds the node key"):
        Enrolment.from_bytes(resigned)


def _signed_again(enrolment, identity):
    from federation.enrolment import _ENROLMENT, _values

    return replace(enrolment, signature=_ENROLMENT.sign(_values(enrolment), identity)).to_bytes()


def test_a_rotation_shows_that_the_holder_of_the_old_key_agreed():
    Rotation.from_bytes(ROTATION.to_bytes()).verify_previous(public_text(OLD_KEY))
    with pytest.raises(SignatureError):
        ROTATION.verify_previous(public_text(OTHER_KEY))


def test_rotations_and_enrolments_are_told_apart():
    assert is_rotation(ROTATION.to_bytes())
    assert not is_rotation(ENROLMENT.to_bytes())
    with pytest.raises(EnrolmentError, match="another kind"):
        Enrolment.from_bytes(ROTATION.to_bytes())


def test_only_keys_on_p384_in_the_form_of_openssh_are_node_keys():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    small = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    for data in (b"", b"x", small.private_bytes(serialization.Encoding.PEM, *form)):
        with pytest.raises(EnrolmentError, match="P-384"):
            read_node_key(data)
