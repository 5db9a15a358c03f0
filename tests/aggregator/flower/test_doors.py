import asyncio
import logging
import time

import pytest

from aggregator.flower import doors
from aggregator.flower.doors import AT_ONCE, OperatorDoor, PublicDoor
from aggregator.flower.operator_proof import proof

TOKEN = "f" * 64
NODE = (b"flwr-public-key", b"key of a node")


def is_node(headers):
    return headers.get(b"flwr-public-key") == NODE[1]


async def reading_app(scope, receive, send):
    """Read the whole body, then say yes."""
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def answer(door, path, method="POST", headers=(NODE,), body=(b"",)):
    sent = []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    parts[-1]["more_body"] = False

    async def receive():
        return parts.pop(0)

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "path": path, "method": method, "headers": [(b"host", b"hub:8000"), *headers]}
    asyncio.run(door(scope, receive, send))
    return sent[0]["status"]


@pytest.fixture
def public():
    return PublicDoor(reading_app, is_node, maximum_body=100)


@pytest.fixture
def operator():
    return OperatorDoor(reading_app, TOKEN)


def proven(token, path, body=b"", method="POST", now=None):
    return (b"fedprint-proof", proof(token, method, path, body, now).encode())


def test_sites_reach_fleet_endpoints_and_everybody_the_health_endpoint(public):
    assert answer(public, "/v1/fleet/pull-messages") == 200
    assert answer(public, "/health", "GET") == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/control/start-run",
        "/v1/runtime/x",
        "/docs",
        "/v1/fleet",
        "/v1/fleet/a/b",
        "/v1/fleet/a\n",
        "//v1/fleet/a",
    ],
)
def test_everything_else_is_closed_to_the_public(public, path):
    assert answer(public, path) == 403


def test_other_methods_are_closed(public):
    assert answer(public, "/v1/fleet/pull-messages", "GET") == 403
    assert answer(public, "/health", "POST") == 403


@pytest.mark.parametrize("extra", [(b"host", b"other"), (b"Host", b"other")])
def test_two_host_headers_are_refused(public, operator, extra):
    assert answer(public, "/health", "GET", [extra]) == 403
    assert answer(operator, "/health", "GET", [extra]) == 403


@pytest.mark.parametrize("host", [b"hub", b"10.0.0.1:8000", b"[2001:db8::7]:8000"])
def test_ordinary_hosts_pass(host):
    sent = []

    async def send(event):
        sent.append(event)

    async def receive():
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "path": "/health", "method": "GET", "headers": [(b"host", host)]}
    asyncio.run(PublicDoor(reading_app, is_node)(scope, receive, send))
    assert sent[0]["status"] == 200


def test_a_request_that_says_that_it_is_too_large_is_not_read(public):
    assert answer(public, "/v1/fleet/push-object", headers=[(b"content-length", b"101")]) == 413


def test_a_request_that_turns_out_too_large_is_dropped(public):
    assert answer(public, "/v1/fleet/push-object", body=[b"x" * 60, b"x" * 60]) == 413
    assert answer(public, "/v1/fleet/push-object", body=[b"x" * 60, b"x" * 40]) == 200


def test_operators_prove_once_that_they_hold_the_whole_token(operator):
    path = "/v1/control/start-run"
    assert answer(operator, path, headers=[]) == 401
    assert answer(operator, path, headers=[proven(TOKEN[:-1], path)]) == 401
    assert answer(operator, path, headers=[proven(TOKEN, path), proven(TOKEN, path)]) == 401
    assert answer(operator, path, headers=[proven(TOKEN, path)]) == 200
    assert answer(operator, path, headers=[(b"authorization", f"Bearer {TOKEN}".encode())]) == 401


def test_a_proof_serves_for_one_request_and_a_while(operator):
    path, now = "/v1/control/start-run", time.time()
    assert answer(operator, path, headers=[proven(TOKEN, path, b"run")], body=(b"r", b"un")) == 200
    assert answer(operator, path, headers=[proven(TOKEN, path, b"run")], body=(b"another",)) == 401
    assert answer(operator, path, headers=[proven(TOKEN, path, b"run")], body=(b"run", b"x" * 2**25)) == 401
    assert answer(operator, "/v1/control/list-runs", headers=[proven(TOKEN, path)]) == 401
    assert answer(operator, path, headers=[proven(TOKEN, path, method="GET")]) == 401
    for age in (-70, 70):
        assert answer(operator, path, headers=[proven(TOKEN, path, now=now - age)]) == 401


@pytest.mark.parametrize("value", [b"", b"Fedprint-HMAC", b"Fedprint-HMAC x y z", b"\xff", b"a b c d e f"])
def test_nonsense_in_the_place_of_a_proof_is_refused(operator, value):
    assert answer(operator, "/v1/control/start-run", headers=[(b"fedprint-proof", value)]) == 401


def test_what_is_behind_the_door_gets_the_whole_body():
    seen = []

    async def keeping_app(scope, receive, send):
        seen.append((await receive())["body"])
        await reading_app(scope, _nothing_more, send)

    async def _nothing_more():
        return {"type": "http.disconnect"}

    path = "/v1/control/start-run"
    door = OperatorDoor(keeping_app, TOKEN)
    assert answer(door, path, headers=[proven(TOKEN, path, b"start")], body=(b"st", b"", b"art")) == 200
    assert seen == [b"start"]


def test_the_hubs_own_processes_bring_secrets_of_their_own(operator):
    assert answer(operator, "/v1/runtime/acquire-task") == 200
    assert answer(operator, "/v1/runtime/../control/start-run") == 401


def test_sites_have_no_business_at_the_operators_door(operator):
    assert (
        answer(operator, "/v1/fleet/pull-messages", headers=[proven(TOKEN, "/v1/fleet/pull-messages")]) == 403
    )


def test_web_sockets_are_closed(public):
    sent = []

    async def send(event):
        sent.append(event)

    asyncio.run(public({"type": "websocket", "path": "/health"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_who_shows_no_key_another_or_two_is_refused(public):
    assert answer(public, "/v1/fleet/push-object", headers=[]) == 401
    assert answer(public, "/v1/fleet/push-object", headers=[(b"Flwr-Public-Key", b"other")]) == 401
    assert answer(public, "/v1/fleet/push-object", headers=[(b"flwr-public-key", b"other"), NODE]) == 401


def test_a_body_of_a_stranger_stays_unread(public):
    async def receive():
        raise AssertionError("the body was read")

    sent = []

    async def send(event):
        sent.append(event)

    scope = {"type": "http", "path": "/v1/fleet/push-object", "method": "POST", "headers": [(b"host", b"h")]}
    asyncio.run(public(scope, receive, send))
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]


def test_one_node_is_served_a_few_requests_at_a_time_and_others_beside_it():
    inside, statuses = [], []

    async def crowd():
        go = asyncio.Event()

        async def waiting_app(scope, _receive, send):
            inside.append(scope)
            await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def ask(key):
            async def send(event):
                statuses.append(event.get("status", 0))

            headers = [(b"host", b"h"), (b"flwr-public-key", key)]
            scope = {"type": "http", "path": "/v1/fleet/a", "method": "POST", "headers": headers}
            await door(scope, None, send)

        door = PublicDoor(waiting_app, lambda _headers: True)
        tasks = [asyncio.create_task(ask(b"greedy")) for _ in range(AT_ONCE + 3)]
        tasks.append(asyncio.create_task(ask(b"modest")))
        while len(inside) < AT_ONCE + 1 or statuses.count(503) < 3:
            await asyncio.sleep(0.01)
        go.set()
        await asyncio.gather(*tasks)
        assert door._served == {}

    asyncio.run(crowd())
    assert statuses.count(200) == AT_ONCE + 1


def test_what_sites_send_is_put_off_while_the_disk_is_full():
    door = PublicDoor(reading_app, is_node, has_room=lambda: False)
    assert answer(door, "/v1/fleet/push-object") == 503
    assert answer(door, "/v1/fleet/push-messages") == 503
    assert answer(door, "/v1/fleet/pull-messages") == 200


def test_who_is_refused_again_and_again_does_not_fill_the_log(public, caplog, monkeypatch):
    monkeypatch.setattr(doors, "_refusals", doors._Refusals())
    with caplog.at_level(logging.WARNING):
        for _ in range(200):
            answer(public, "/v1/control/start-run")
    assert 0 < len(caplog.records) <= 20
