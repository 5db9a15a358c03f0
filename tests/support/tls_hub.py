"""A hub's public port for tests: TLS on loopback and the health endpoint."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from time import time


@contextmanager
def serving(
    certificate: Path, key: Path, *, host: str = "127.0.0.1", ahead_s: float = 0.0, dated: bool = True
) -> Iterator[int]:
    """Serve ``/health`` with TLS on a loopback address; yields the port.

    Args:
        certificate: PEM file.
        key: PEM file.
        host: The address.
        ahead_s: Seconds that the hub's clock is ahead.
        dated: Whether the hub says what time it is.
    """

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200 if self.path == "/health" else 404)
            if dated:
                self.send_header("Date", formatdate(time() + ahead_s, usegmt=True))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = _Quiet((host, 0), Health)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(http.server.HTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that does not trust the certificate hangs up."""
