"""A TLS handshake in memory: whether a site would accept the hub's certificate, before any site tries."""

import ssl
from pathlib import Path


def rehearse(certificate: Path, key: Path, authority: Path, host: str) -> None:
    """Shake hands with ourselves as a site does that knows the authority and the host's name.

    Args:
        certificate: What the server shows, PEM.
        key: Its private key, PEM.
        authority: What the site trusts, PEM.
        host: Name or address under which the site reaches the server.

    Raises:
        ssl.SSLError: If a site would refuse.
        OSError: If a file cannot be read.
    """
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.load_verify_locations(authority)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    client = client_side.wrap_bio(to_client, to_server, server_hostname=host)
    while not (_step(client) and _step(server)):
        pass


def _step(side: ssl.SSLObject) -> bool:
    """Take a handshake as far as it goes; True: it is complete."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
