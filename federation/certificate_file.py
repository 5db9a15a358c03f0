"""Reading certificates, and the fingerprint of an authority."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from federation.errors import ConfigError

_MOST_BYTES = 64 * 1024


def read_certificates(data: bytes, what: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one.

    Args:
        data: The file.
        what: What it is, for the message of the error.

    Raises:
        ConfigError: If there is none.
    """
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise ConfigError(
            f"{what} holds no certificate", remedy="name a PEM file: -----BEGIN CERTIFICATE-----"
        ) from error


def authority_sha256(data: bytes) -> str:
    """Return the SHA-256 of the one certificate in an authority's PEM file.

    Raises:
        ConfigError: If there is not exactly one.
    """
    found = read_certificates(data, "the file of the authority")
    if len(found) != 1:
        raise ConfigError(
            f"the file of the authority holds {len(found)} certificates, expected 1",
            remedy="name the file of the one authority that issued the hub's certificate",
        )
    return found[0].fingerprint(hashes.SHA256()).hex()


def one_certificate(data: bytes) -> bytes:
    """Return the one certificate of an authority's file, without whatever text stands around it.

    Raises:
        ConfigError: If there is not exactly one.
    """
    authority_sha256(data)
    return read_certificates(data, "the file of the authority")[0].public_bytes(Encoding.PEM)


def is_authority_file(value: object) -> bool:
    """Return whether a value is the text of one certificate in its one PEM form."""
    try:
        return isinstance(value, str) and one_certificate(value.encode()) == value.encode()
    except (ConfigError, UnicodeEncodeError):
        return False
