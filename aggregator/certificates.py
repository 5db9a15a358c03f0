"""The consortium's certificate authority and the hub's certificate.

The authority's key is used to issue a certificate of the hub once a year, and for nothing else: sites prove
themselves with keys of their own.
"""

import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from federation.address import as_ip
from federation.certificate_file import read_certificates
from federation.errors import ConfigError
from federation.files import read_file

AUTHORITY_DAYS = 3_650
SERVER_DAYS = 365
_BEGINS_EARLIER = timedelta(hours=1)
"""Sites whose clock is a little slow must not find a new certificate in their future."""

_LOCAL = ("localhost", "127.0.0.1")
_HASH = hashes.SHA384()
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, PEM.

    Args:
        certificate: The certificate.
        key: Its private key, PKCS #8, not encrypted.
    """

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Issued(…)"


def new_authority(consortium: str, now: float | None = None) -> Issued:
    """Return a new authority on P-384 that may issue certificates of servers and no further authority.

    Args:
        consortium: Name of the consortium.
        now: Unix time in seconds; by default the clock's.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    name = _name(f"{consortium} authority")
    builder = _begun(name, name, key.public_key(), AUTHORITY_DAYS, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return Issued(_pem(builder.sign(key, _HASH)), _key_pem(key))


def new_server_key() -> bytes:
    """Return a new private key for the hub's certificate, PEM."""
    return _key_pem(ec.generate_private_key(ec.SECP384R1()))


def issue_server(authority: Issued, host: str, key: bytes, now: float | None = None) -> bytes:
    """Return a certificate of the hub for a host, and for this machine itself.

    Args:
        authority: The authority.
        host: Name or IP address at which sites reach the hub.
        key: The hub's private key, PEM.
        now: Unix time in seconds; by default the clock's.

    Raises:
        ConfigError: If the authority is none, or its key another's.
    """
    issuer, issuer_key = _authority(authority)
    public = _private_key(key, "the key of the hub").public_key()
    builder = _begun(_name(host), issuer.subject, public, SERVER_DAYS, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    builder = builder.add_extension(_issued_by(issuer), critical=False)
    return _pem(builder.sign(issuer_key, _HASH))


def check_server(authority: Path, certificate: Path, key: Path, host: str) -> None:
    """Raise unless a site that knows the authority would trust the hub, as a TLS handshake in memory tells.

    Args:
        authority: PEM file of the authority's certificate.
        certificate: PEM file of the hub's certificate, followed by those between it and the authority.
        key: PEM file of the hub's private key.
        host: Name or IP address at which sites reach the hub.

    Raises:
        ConfigError: If it would not.
        StoreError: If a file cannot be read.
    """
    for path, what in ((authority, "the authority"), (certificate, "the certificate"), (key, "the key")):
        read_file(path, what)
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key, password=_no_password)
        _shake_hands(ssl.create_default_context(cafile=str(authority)), server, host)
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        raise ConfigError(
            f"sites would not trust {certificate} for {host}: {why}",
            remedy="use a certificate that the authority issued for that host, and the key of it",
        ) from error


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    while waiting:
        waiting = [side for side in waiting if not _steps(side)]


def _steps(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is there to type a password when the hub starts")


def _authority(authority: Issued) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]:
    certificate = read_certificates(authority.certificate, "the file of the authority")[0]
    key = _private_key(authority.key, "the key of the authority")
    if _public_bytes(certificate.public_key()) != _public_bytes(key.public_key()):
        raise ConfigError(
            "the authority's key is not the one of its certificate", remedy="name the key that belongs to it"
        )
    return certificate, key


def _private_key(data: bytes, what: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{what} cannot be read", remedy="name a PEM file without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ConfigError(f"{what} is of a kind that is not used", remedy="use an elliptic curve or RSA")
    return key


def _public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, days: int, now: float | None
) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(int(time.time() if now is None else now), UTC)
    builder = x509.CertificateBuilder(issuer_name=issuer, subject_name=subject)
    builder = builder.public_key(key).serial_number(x509.random_serial_number())
    return builder.not_valid_before(at - _BEGINS_EARLIER).not_valid_after(at + timedelta(days=days))


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _issued_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier(_digest_of(issuer), None, None)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _digest_of(issuer: x509.Certificate) -> bytes:
    key = issuer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ConfigError("the authority's key is of a kind that is not used", remedy="use another authority")
    return x509.SubjectKeyIdentifier.from_public_key(key).digest


def _names(host: str) -> list[x509.GeneralName]:
    return [_general_name(name) for name in dict.fromkeys((host, *_LOCAL))]


def _general_name(host: str) -> x509.GeneralName:
    ip = as_ip(host)
    return x509.DNSName(host) if ip is None else x509.IPAddress(ip)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:_LONGEST_NAME])])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
