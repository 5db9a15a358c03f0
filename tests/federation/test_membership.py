import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memberships import HUB, NOW, membership, new_identity

from federation.canonical import canonical_json
from federation.errors import EnrolmentError, SignatureError
from federation.membership import Membership, Revocation

REFUSED = (EnrolmentError, SignatureError)
MEMBER = membership()
REVOKED = Revocation("anna", "Hearts", 1, NOW, "left the consortium").signed(HUB)
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)


def read(data):
    return Membership.from_bytes(data, HUB.public_key)


def test_a_membership_reads_back():
    assert read(MEMBER.to_bytes()) == MEMBER
    assert Revocation.from_bytes(REVOKED.to_bytes(), HUB.public_key) == REVOKED


@pytest.mark.parametrize("document", [MEMBER, REVOKED])
@given(data=st.data())
def test_no_field_can_be_changed(document, data):
    content = json.loads(document.to_bytes())
    field = data.draw(st.sampled_from(sorted(content)))
    value = data.draw(VALUES.filter(lambda v: v != content[field] or type(v) is not type(content[field])))
    with pytest.raises(REFUSED):
        type(document).from_bytes(canonical_json({**content, field: value}), HUB.public_key)


@given(position=st.integers(0, len(MEMBER.to_bytes()) - 2), byte=st.integers(0, 255))
def test_no_byte_can_be_changed(position, byte):
    data = bytearray(MEMBER.to_bytes())
    if data[position] == byte:
        return
    data[position] = byte
    with pytest.raises(REFUSED):
        read(bytes(data))


@given(st.binary(max_size=200))
def test_bytes_are_no_membership(data):
    with pytest.raises(REFUSED):
        read(data)


def test_a_membership_of_another_hub_is_refused():
    with pytest.raises(SignatureError, match="the membership"):
        read(membership(new_identity("other")).to_bytes())


def test_a_revocation_is_no_membership():
    with pytest.raises(EnrolmentError, match="another kind"):
        read(REVOKED.to_bytes())


@pytest.mark.parametrize("change", ["extra", "missing", "pretty", "twice", "version", "long"])
def test_a_document_has_one_form(change):
    content = json.loads(MEMBER.to_bytes())
    forms = {
        "extra": canonical_json({**content, "note": "hello"}),
        "missing": canonical_json({k: v for k, v in content.items() if k != "serial"}),
        "pretty": json.dumps(content, indent=1).encode(),
        "twice": MEMBER.to_bytes().replace(b'"serial":1', b'"serial":2,"serial":1'),
        "version": canonical_json({**content, "version": 2}),
        "long": MEMBER.to_bytes() + b" " * 70_000,
    }
    with pytest.raises(EnrolmentError, match="no membership that can be used"):
        read(forms[change])


def test_a_membership_that_ends_before_it_begins_is_refused():
    with pytest.raises(EnrolmentError, match="ends before it begins"):
        read(membership(valid_from=NOW, valid_until=NOW).to_bytes())


@pytest.mark.parametrize(
    "change", [{"site": "A"}, {"serial": 0}, {"node_key": "ssh-ed25519 AAAA"}, {"valid_until": 1.5}]
)
def test_a_hub_signs_nothing_that_no_one_would_read(change):
    with pytest.raises(EnrolmentError):
        membership(**change)
