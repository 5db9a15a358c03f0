from base64 import b64encode
from datetime import UTC, datetime
from importlib import import_module

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from aggregator.flower.node_proof import EARLIEST_S, KEY, LATEST_S, SIGNATURE, TIMESTAMP, NodeProof

NOW = 1_800_000_000.0
asymmetric = import_module("flwr.supercore.primitives.asymmetric")
OURS = ec.generate_private_key(ec.SECP384R1())
PUBLIC = asymmetric.public_key_to_bytes(OURS.public_key())


def headers(key=OURS, shown=PUBLIC, at=NOW, **changed):
    signed = datetime.fromtimestamp(at, UTC).isoformat()
    signature = asymmetric.sign_message(key, signed.encode())
    stated = {KEY: b64encode(shown), SIGNATURE: b64encode(signature), TIMESTAMP: signed.encode()}
    return stated | {name.encode().replace(b"_", b"-"): value for name, value in changed.items()}


def holds(shown, registered=(PUBLIC,)):
    return NodeProof(lambda key: key in registered, lambda: NOW)(shown)


def test_a_registered_node_that_signed_a_moment_ago_is_one():
    assert holds(headers())
    assert holds(headers(at=NOW - EARLIEST_S - 1))
    assert holds(headers(at=NOW - LATEST_S + 1))


def test_a_key_that_is_not_registered_is_refused():
    assert not holds(headers(), registered=())


def test_who_does_not_hold_the_key_is_refused():
    other = ec.generate_private_key(ec.SECP384R1())
    assert not holds(headers(key=other))
    assert not holds(headers(at=NOW) | {TIMESTAMP: headers(at=NOW - 1)[TIMESTAMP]})


@pytest.mark.parametrize("at", [NOW + 6, NOW - 306, NOW - 86_400])
def test_an_old_proof_is_refused(at):
    assert not holds(headers(at=at))


@pytest.mark.parametrize("name", [KEY, SIGNATURE, TIMESTAMP])
@pytest.mark.parametrize("value", [b"", b"\xff", b"x", b"AAAA", b"A" * 1025, b"9" * 600, b"2027-01-15"])
def test_nonsense_is_refused(name, value):
    assert not holds(headers() | {name: value}, registered=(PUBLIC, b"\x00\x00\x00", b""))


@pytest.mark.parametrize("name", [KEY, SIGNATURE, TIMESTAMP])
def test_a_missing_header_is_refused(name):
    assert not holds({key: value for key, value in headers().items() if key != name})


def test_a_time_without_a_zone_is_refused():
    signed = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None).isoformat().encode()
    signature = b64encode(asymmetric.sign_message(OURS, signed))
    assert not holds({KEY: b64encode(PUBLIC), SIGNATURE: signature, TIMESTAMP: signed})


def test_a_registered_key_of_another_kind_is_refused():
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    strange = ed25519.Ed25519PrivateKey.generate().public_key()
    shown = strange.public_bytes(serialization.Encoding.PEM, form)
    assert not holds(headers(shown=shown), registered=(shown,))


def test_flowers_nodes_prove_themselves_as_is_expected_here():
    names, tolerances = import_module("flwr.supercore.constant"), import_module("flwr.common.constant")
    assert names.FLEET_HTTP_PUBLIC_KEY_HEADER.encode() == KEY
    assert names.FLEET_HTTP_SIGNATURE_HEADER.encode() == SIGNATURE
    assert tolerances.TIMESTAMP_HEADER.encode() == TIMESTAMP
    assert tolerances.SYSTEM_TIME_TOLERANCE == -EARLIEST_S
    assert tolerances.TIMESTAMP_TOLERANCE + tolerances.SYSTEM_TIME_TOLERANCE == LATEST_S


def test_the_interceptor_of_flowers_nodes_is_believed():
    class Context:
        class request:  # noqa: N801
            headers: dict = {}  # noqa: RUF012

    kind = import_module("flwr.supernode.node_auth_http_interceptor").NodeAuthHttpInterceptor
    kind(OURS, OURS.public_key()).intercept(Context, lambda context: context)
    shown = {name.lower().encode(): value.encode() for name, value in Context.request.headers.items()}
    assert NodeProof(lambda key: key == PUBLIC)(shown)
