import asyncio
import socket
from contextlib import suppress

import pytest
import uvicorn

from aggregator.flower import connections
from aggregator.flower.connections import HastyProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"


async def slow_app(_scope, _receive, send):
    """Answer after longer than the headers of a request may take."""
    await asyncio.sleep(5 * connections.BEGINNING_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def talk(*parts):
    """Send parts of requests, each after an answer to the one before, and return all until the end."""

    async def run():
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(slow_app, http=HastyProtocol, lifespan="off", log_config=None)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            said = []
            for part in parts:
                writer.write(part)
                said.append(await reader.read(1000))
            writer.close()
            server.should_exit = True
            await serving
        return said

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(connections, "BEGINNING_S", 0.1)


@pytest.mark.parametrize("begun", [b"", b"GET", b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: hub\r\nX-"])
def test_a_connection_on_which_no_request_is_completed_is_closed(begun):
    with suppress(ConnectionResetError):
        assert talk(begun) == [b""]


def test_an_answer_may_take_longer_than_the_headers_of_a_request():
    (answer,) = talk(REQUEST)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_second_request_must_be_completed_too():
    try:
        first, second = talk(REQUEST, b"GET / HT")
    except ConnectionResetError:
        return
    assert first.startswith(b"HTTP/1.1 200")
    assert second == b""
