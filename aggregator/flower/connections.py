"""Connections that do not wait for ever: a stranger who never ends a request must not keep one open."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BEGINNING_S = 15.0
"""Seconds from a connection, or the first byte of its next request, to the end of the request's headers."""


class HastyProtocol(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, with a limit on how long the headers of a request may take."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._limit = self.loop.call_later(BEGINNING_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Wait no longer once the headers are there, and begin to wait where they are not."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_longer()
        elif self._limit is None:
            self._limit = self.loop.call_later(BEGINNING_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def _wait_no_longer(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
