"""A new certificate for the hub from the same authority, so that sites go on trusting it."""

import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from aggregator.certificates import Issued, check_server, issue_server
from aggregator.operated_hub import OperatedHub
from federation.address import split_address
from federation.certificate_file import read_certificates
from federation.errors import ConfigError
from federation.files import create_atomically, read_file, write_atomically


def renew_certificate(
    hub: OperatedHub, certificate: Path | None = None, key: Path | None = None, now: float | None = None
) -> None:
    """Put a new certificate in the place of the hub's; the old one is kept in ``tls/replaced``.

    Args:
        hub: The hub.
        certificate: PEM file of a certificate that the authority issued; None: the authority's key is here
            and issues one.
        key: PEM file of its key; None: the hub's key stays.
        now: Unix time in seconds at which an issued one begins; by default the clock's.

    Raises:
        ConfigError: If sites would not trust it, or the authority's key is not here.
        StoreError: If a file cannot be read or written.
    """
    folder = hub.folder
    host, _ = split_address(hub.config.serve.address)
    fresh = _issued(hub, host, now) if certificate is None else read_file(certificate, "certificate")
    fresh_key = read_file(folder.server_key if key is None else key, "key of the hub's certificate")
    _check(hub, fresh, fresh_key, host)
    hub.record("certificate", "", sha256=_sha256(fresh))
    _keep(hub)
    if fresh_key != read_file(folder.server_key, "key"):
        write_atomically(folder.server_key, fresh_key)
    write_atomically(folder.server_certificate, fresh)


def _issued(hub: OperatedHub, host: str, now: float | None) -> bytes:
    if not hub.folder.ca_key.exists():
        raise ConfigError(
            "the key of the consortium's authority is not on this machine",
            remedy="let the authority issue a certificate for the hub and name it with --server-certificate",
        )
    authority = Issued(hub.ca_certificate, read_file(hub.folder.ca_key, "key of the authority"))
    return issue_server(authority, host, read_file(hub.folder.server_key, "key"), now)


def _check(hub: OperatedHub, certificate: bytes, key: bytes, host: str) -> None:
    with tempfile.TemporaryDirectory(dir=hub.folder.tls, prefix=".new-") as scratch:
        files = Path(scratch) / "server.crt", Path(scratch) / "server.key"
        write_atomically(files[0], certificate)
        write_atomically(files[1], key)
        check_server(hub.folder.ca_certificate, *files, host)


def _keep(hub: OperatedHub) -> None:
    old = read_file(hub.folder.server_certificate, "certificate of the hub")
    create_atomically(hub.folder.tls / "replaced" / f"{_sha256(old)}.crt", old)


def _sha256(data: bytes) -> str:
    return read_certificates(data, "the certificate")[0].fingerprint(hashes.SHA256()).hex()
