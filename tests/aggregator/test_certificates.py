import socket
import ssl
import time

import pytest
from cryptography import x509
from tls_hub import serving

from aggregator.certificates import (
    Issued,
    check_server,
    issue_server,
    new_authority,
    new_server_key,
)
from federation.errors import ConfigError, StoreError

HOUR, YEAR = 3_600, 365 * 86_400


@pytest.fixture(scope="module")
def authority():
    return new_authority("Hearts")


@pytest.fixture(scope="module")
def key():
    return new_server_key()


def write(folder, authority, certificate, key):
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "server.crt").write_bytes(certificate)
    (folder / "server.key").write_bytes(key)
    return folder


def connect(authority_file, port, host):
    context = ssl.create_default_context(cafile=str(authority_file))
    with (
        socket.create_connection(("127.0.0.1", port), 10) as raw,
        context.wrap_socket(raw, server_hostname=host) as connection,
    ):
        return connection.getpeercert()


@pytest.mark.parametrize("host", ["hub.example.org", "localhost", "127.0.0.1"])
def test_a_site_that_knows_the_authority_trusts_the_hub_over_a_real_connection(
    tmp_path, authority, key, host
):
    files = write(tmp_path / "a", authority, issue_server(authority, "hub.example.org", key), key)
    with serving(files / "server.crt", files / "server.key") as port:
        assert connect(files / "ca.crt", port, host)["subjectAltName"] == (
            ("DNS", "hub.example.org"),
            ("DNS", "localhost"),
            ("IP Address", "127.0.0.1"),
        )


def test_another_name_is_not_trusted(tmp_path, authority, key):
    files = write(tmp_path / "a", authority, issue_server(authority, "hub.example.org", key), key)
    with (
        serving(files / "server.crt", files / "server.key") as port,
        pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"),
    ):
        connect(files / "ca.crt", port, "evil.example.org")


def test_another_authority_is_not_trusted(tmp_path, authority, key):
    files = write(tmp_path / "a", authority, issue_server(authority, "localhost", key), key)
    other = tmp_path / "other.crt"
    other.write_bytes(new_authority("Hearts").certificate)
    with (
        serving(files / "server.crt", files / "server.key") as port,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        connect(other, port, "localhost")


def test_a_renewed_certificate_is_trusted_by_the_same_authority(tmp_path, authority, key):
    for _ in range(2):
        files = write(tmp_path / "a", authority, issue_server(authority, "localhost", key), key)
        with serving(files / "server.crt", files / "server.key") as port:
            assert connect(files / "ca.crt", port, "localhost")


def test_an_ip_address_is_named_as_one(authority, key):
    certificate = x509.load_pem_x509_certificate(issue_server(authority, "192.0.2.7", key))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "127.0.0.1"]


def test_an_authority_lasts_ten_years_and_a_hubs_certificate_one(authority, key):
    ca = x509.load_pem_x509_certificate(authority.certificate)
    server = x509.load_pem_x509_certificate(issue_server(authority, "localhost", key))
    for certificate, years in ((ca, 10), (server, 1)):
        lasts = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lasts.total_seconds() == years * YEAR + HOUR
    assert ca.public_key().curve.name == server.public_key().curve.name == "secp384r1"


def test_an_authority_cannot_make_further_authorities(authority):
    ca = x509.load_pem_x509_certificate(authority.certificate)
    limits = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)


def test_keys_are_not_shown(authority):
    assert "PRIVATE" not in repr(authority)


def test_the_check_trusts_what_a_site_would_trust(tmp_path, authority, key):
    files = write(tmp_path / "a", authority, issue_server(authority, "hub.example.org", key), key)
    check_server(files / "ca.crt", files / "server.crt", files / "server.key", "hub.example.org")


@pytest.mark.parametrize("wrong", ["host", "authority", "key", "expired", "future", "garbage", "encrypted"])
def test_the_check_refuses_what_a_site_would_not_trust(tmp_path, authority, key, wrong):
    at = {"expired": time.time() - 2 * YEAR, "future": time.time() + YEAR}.get(wrong)
    certificate = issue_server(authority, "hub.example.org", key, at)
    files = write(tmp_path / "a", authority, certificate, key)
    if wrong == "authority":
        (files / "ca.crt").write_bytes(new_authority("Hearts").certificate)
    elif wrong == "key":
        (files / "server.key").write_bytes(new_server_key())
    elif wrong == "garbage":
        (files / "server.crt").write_bytes(b"garbage")
    elif wrong == "encrypted":
        (files / "server.key").write_bytes(encrypted(key))
    host = "other.example.org" if wrong == "host" else "hub.example.org"
    with pytest.raises(ConfigError, match="sites would not trust"):
        check_server(files / "ca.crt", files / "server.crt", files / "server.key", host)


def encrypted(key):
    from cryptography.hazmat.primitives import serialization as s

    private = s.load_pem_private_key(key, None)
    return private.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret"))


def test_the_check_names_a_file_that_is_missing(tmp_path, authority, key):
    files = write(tmp_path / "a", authority, issue_server(authority, "localhost", key), key)
    (files / "server.key").unlink()
    with pytest.raises(StoreError, match=r"server\.key"):
        check_server(files / "ca.crt", files / "server.crt", files / "server.key", "localhost")


def test_a_key_of_another_authority_issues_nothing(authority, key):
    mixed = Issued(authority.certificate, new_authority("Hearts").key)
    with pytest.raises(ConfigError, match="not the one of its certificate"):
        issue_server(mixed, "localhost", key)
