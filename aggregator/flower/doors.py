"""Which requests may pass to the SuperLink: few from outside, and those of operators with a token.

The SuperLink serves sites, operators and its own processes on one port, and asks no operator who they are. So
it is given two doors. A door decides by the path and the headers as they arrived, never by the address of the
peer: a proxy on the same host lends its own to everybody.
"""

import asyncio
import hashlib
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from aggregator.flower.operator_proof import HEADER, proven_body

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("fedprint.superlink")

MAXIMUM_BODY = 16 * 2**20
"""Bytes of one request; Flower cuts what is larger into parts of 5 MiB."""

AT_ONCE = 8
"""Requests of one node that are served at a time; Flower's SuperNode makes 3."""

_PREFIX, _KEY = b"flwr-", b"flwr-public-key"
_PUSH = "/v1/fleet/push-"
_LOGGED, _WINDOW_S = 20, 60.0

_FLEET = re.compile(r"/v1/fleet/[a-z]+(-[a-z]+)*")
_RUNTIME = re.compile(r"/v1/runtime/[a-z]+(-[a-z]+)*")
_HEALTH = "/health"
_HOST = re.compile(rb"[A-Za-z0-9.\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


class _Refusals:
    """Logs a few refusals in every minute, and how many there were: no stranger fills the log."""

    def __init__(self) -> None:
        self._began_at, self._n = 0.0, 0

    def tell(self, text: str, *values: object) -> None:
        if time.monotonic() - self._began_at >= _WINDOW_S:
            if self._n > _LOGGED:
                log.warning("refused %d more requests like these", self._n - _LOGGED)
            self._began_at, self._n = time.monotonic(), 0
        self._n += 1
        if self._n <= _LOGGED:
            log.warning(text, *values)


_refusals = _Refusals()


class _TooLargeError(Exception):
    """More bytes arrive than a request may have."""


class PublicDoor:
    """Lets sites through to the fleet endpoints, and anybody to the health endpoint.

    Of the body of a request nothing is read before its sender has proved to be a registered node.

    Args:
        app: What lies behind.
        is_node: Whether headers prove that a registered node asks; it may take a moment.
        maximum_body: Most bytes of one request; larger messages travel in parts.
        has_room: Whether there is room on the disk for what sites send.
    """

    def __init__(
        self,
        app: App,
        is_node: Callable[[Mapping[bytes, bytes]], bool],
        maximum_body: int = MAXIMUM_BODY,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._app, self._is_node, self._maximum, self._has_room = app, is_node, maximum_body, has_room
        self._served: Counter[bytes] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await _pass_lifespan(self._app, scope, receive, send)
        elif not self._may_pass(scope):
            await _refuse(scope, send, 403, "only sites are served here")
        elif _announced(scope) > self._maximum:
            await _refuse(scope, send, 413, "the request is too large")
        elif scope["path"] == _HEALTH:
            await self._pass(scope, receive, send)
        else:
            await self._pass_node(scope, receive, send)

    async def _pass_node(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _proof(scope)
        if not await asyncio.to_thread(self._is_node, headers):
            await _refuse(scope, send, 401, "this is no node that may connect")
            return
        key = headers[_KEY]
        if self._served[key] >= AT_ONCE:
            await _refuse(scope, send, 503, "this node asks for too much at once")
            return
        if scope["path"].startswith(_PUSH) and not self._has_room():
            await _refuse(scope, send, 503, "the hub's disk is full")
            return
        self._served[key] += 1
        try:
            await self._pass(scope, receive, send)
        finally:
            self._served[key] -= 1
            self._served += Counter()  # forget who asks for nothing

    def _may_pass(self, scope: Scope) -> bool:
        # Flower decides by a URL that it puts together from the Host header whether to authenticate a node.
        if not _is_plain_host(scope):
            return False
        if scope["path"] == _HEALTH:
            return scope["method"] in ("GET", "HEAD")
        return scope["method"] == "POST" and bool(_FLEET.fullmatch(scope["path"]))

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False
        seen = 0

        async def counted() -> Event:
            nonlocal seen
            event = await receive()
            seen += len(event.get("body", b""))
            if seen > self._maximum:
                raise _TooLargeError
            return event

        async def noted(event: Event) -> None:
            nonlocal answered
            answered = True
            await send(event)

        try:
            await self._app(scope, counted, noted)
        except _TooLargeError:
            if not answered:
                await _refuse(scope, send, 413, "the request is too large")


class OperatorDoor:
    """Lets the hub's own processes through to the runtime endpoints, and who holds the token to the rest.

    The runtime endpoints ask for secrets of their own. Sites have no business here.

    Args:
        app: What lies behind.
        token: What an operator proves to hold (``aggregator.flower.operator_proof``).
        maximum_body: Most bytes of one request.
    """

    def __init__(self, app: App, token: str, maximum_body: int = MAXIMUM_BODY) -> None:
        self._app, self._token, self._maximum = app, token, maximum_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await _pass_lifespan(self._app, scope, receive, send)
        elif not _is_plain_host(scope) or _FLEET.fullmatch(scope["path"]):
            await _refuse(scope, send, 403, "sites are not served here")
        elif self._is_open(scope["path"]):
            await self._app(scope, receive, send)
        else:
            await self._pass_operator(scope, receive, send)

    async def _pass_operator(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body of who holds the token, and pass it on if it is the one that was meant."""
        shown = list(_headers(scope, HEADER.encode()))
        value = shown[0].decode("ascii", "replace") if len(shown) == 1 else ""
        digest = proven_body(self._token, scope["method"], scope["path"], value)
        body = await self._body(receive) if digest else b""
        if not digest or hashlib.sha256(body).hexdigest() != digest:
            await _refuse(scope, send, 401, "the proof that an operator asks is missing or wrong")
        else:
            await self._app(scope, _once(body, receive), send)

    async def _body(self, receive: Receive) -> bytes:
        """Return a body; of one that is too large only the beginning."""
        body, more = b"", True
        while more and len(body) <= self._maximum:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        return body

    def _is_open(self, path: str) -> bool:
        return path == _HEALTH or bool(_RUNTIME.fullmatch(path))


def _once(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, and then whatever else comes."""
    events = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Event:
        return events.pop() if events else await receive()

    return again


def _headers(scope: Scope, name: bytes) -> Iterable[bytes]:
    return (value for key, value in scope["headers"] if key.lower() == name)


def _proof(scope: Scope) -> dict[bytes, bytes]:
    """Return Flower's own headers by name; none where one is there twice, and who reads which is unclear."""
    found = [(key.lower(), value) for key, value in scope["headers"] if key.lower().startswith(_PREFIX)]
    return dict(found) if len(dict(found)) == len(found) else {}


def _is_plain_host(scope: Scope) -> bool:
    """Whether there is one Host header and it holds a host, and a port perhaps, and nothing else."""
    hosts = list(_headers(scope, b"host"))
    return len(hosts) == 1 and bool(_HOST.fullmatch(hosts[0]))


def _announced(scope: Scope) -> int:
    """Bytes that a request says it has; 0: it does not say."""
    said = next(iter(_headers(scope, b"content-length")), b"0")
    return int(said) if said.isdigit() else 0


async def _pass_lifespan(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass the server's own start and stop on; web sockets are closed."""
    if scope["type"] == "lifespan":
        await app(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008})


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    who = (scope.get("client") or ("unknown",))[0]
    _refusals.tell("refused %.16s %.80r from %s: %s", scope["method"], scope["path"], who, why)
    body = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send(
        {"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]}
    )
    await send({"type": "http.response.body", "body": body})
