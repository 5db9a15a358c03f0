"""When certificates end."""

from pathlib import Path

from federation.certificate_file import read_certificates
from federation.files import read_file


def ends_at(path: Path) -> float:
    """Return when the first of a file's certificates to do so ends, Unix time in seconds.

    Raises:
        ConfigError: If there is no certificate in it.
        StoreError: If it cannot be read.
    """
    found = read_certificates(read_file(path, "certificate"), str(path))
    return min(certificate.not_valid_after_utc.timestamp() for certificate in found)
