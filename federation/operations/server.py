"""A small HTTP server for ``/metrics``, ``/health`` and ``/ready``; it answers nothing else.

It is a process of its own, so that nobody who can reach it reaches Flower, the catalogue or a policy, and
so that it still answers when they do not.
"""

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from federation.errors import ConfigError

log = logging.getLogger("fedprint.operations")

METRICS_HOST = "FEDPRINT_METRICS_HOST"
"""Environment variable that a container sets where its network alone says who reaches the metrics."""

_JSON = "application/json"
_MOST_AT_ONCE = 8
_REQUEST_S = 5.0  # a client that sends no request keeps nobody waiting

Readiness = Callable[[], Mapping[str, str]]
"""Returns part → code of what stands against work; empty when ready."""


@dataclass(frozen=True)
class Answer:
    """What a request is answered with."""

    status: int
    content_type: str
    body: bytes

    @classmethod
    def of_json(cls, status: int, value: object) -> "Answer":
        """Return an answer of JSON."""
        return cls(status, _JSON, json.dumps(value).encode() + b"\n")


@dataclass(frozen=True)
class Observatory:
    """What can be asked.

    Args:
        registry: The collectors.
        readiness: What stands against work.
    """

    registry: CollectorRegistry
    readiness: Readiness

    def answer(self, path: str) -> Answer:
        """Return the answer to a request for a path."""
        routes = {"/metrics": self._metrics, "/health": self._health, "/ready": self._ready}
        route = routes.get(path.partition("?")[0])
        return Answer.of_json(404, {"status": "not-found"}) if route is None else route()

    def _metrics(self) -> Answer:
        return Answer(200, CONTENT_TYPE_LATEST, generate_latest(self.registry))

    def _health(self) -> Answer:
        return Answer.of_json(200, {"status": "live"})

    def _ready(self) -> Answer:
        against = dict(self.readiness())
        if against:
            return Answer.of_json(503, {"status": "not-ready", "because": against})
        return Answer.of_json(200, {"status": "ready"})


class OperationsServer(ThreadingHTTPServer):
    """Answers from an observatory, a few requests at once.

    Args:
        host: Address to listen at.
        port: Port to listen at; 0 lets the system choose.
        observatory: What can be asked.

    Raises:
        ConfigError: If the address cannot be had.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int, observatory: Observatory) -> None:
        self.observatory = observatory
        self.places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"metrics cannot be served at {host}:{port}: {error.strerror}",
                remedy="stop what listens there, or choose another metrics_port in [serve]",
            ) from error

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a broken connection in one line; the default prints a traceback to standard error."""
        del request
        log.info("a request from %s was broken off", client_address)

    def serve_until_told(self) -> None:
        """Answer until the process is told to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=self.shutdown, daemon=True).start())
        log.info("metrics at http://%s:%d/metrics", *self.server_address[:2])
        self.serve_forever()
        self.server_close()


def listening_at(configured: str) -> str:
    """Return the address to listen at: the configured one, unless the environment names another."""
    return os.environ.get(METRICS_HOST) or configured


class _Handler(BaseHTTPRequestHandler):
    server: OperationsServer
    timeout = _REQUEST_S
    server_version = "fedprint"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    _BUSY: ClassVar[Answer] = Answer.of_json(503, {"status": "busy"})
    _FAILED: ClassVar[Answer] = Answer.of_json(500, {"status": "internal"})

    def do_GET(self) -> None:
        self._send(self._answer())

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        log.debug(format, *arguments)

    def _answer(self) -> Answer:
        places = self.server.places
        if not places.acquire(blocking=False):
            return self._BUSY
        try:
            return self.server.observatory.answer(self.path)
        except Exception:
            # The text stays in the log of this process: it can name what is none of a reader's business.
            log.exception("%s could not be answered", self.path)
            return self._FAILED
        finally:
            places.release()

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
