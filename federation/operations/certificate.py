"""When a certificate ends."""

from pathlib import Path

from cryptography import x509

from federation.errors import StoreError
from federation.files import read_file


def ends_at(path: Path) -> float:
    """Return when the first certificate of a PEM file ends, Unix time in seconds.

    Raises:
        StoreError: If there is none that can be read.
    """
    data = read_file(path, "certificate")
    try:
        return x509.load_pem_x509_certificate(data).not_valid_after_utc.timestamp()
    except ValueError as error:
        raise StoreError(
            f"{path} is no certificate",
            remedy="restore it, or make it anew with `fedprint hub renew-certificate`",
        ) from error
