import socket
import time

import pytest
from tls_hub import serving

from aggregator.certificates import issue_server, new_authority, new_server_key
from site_agent.deployment_check.connection import check_connection
from site_agent.deployment_check.finding import State
from site_agent.serve_config import HubConnection

DAY = 86_400


@pytest.fixture(scope="module")
def authority():
    return new_authority("Hearts")


@pytest.fixture
def tls(tmp_path, authority):
    key = new_server_key()
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "server.crt").write_bytes(issue_server(authority, "localhost", key))
    (tmp_path / "server.key").write_bytes(key)
    return tmp_path


def look(tls, port, host="localhost", clock=time.time):
    hub = HubConnection(
        address=f"{host}:{port}", consortium="H", public_key="ab" * 32, ca_certificate=tls / "ca.crt"
    )
    return {finding.name: finding for finding in check_connection(hub, clock)}


def states(found):
    return {name: finding.state for name, finding in found.items()}


def test_a_hub_that_serves_is_found_in_order(tls):
    with serving(tls / "server.crt", tls / "server.key") as port:
        found = look(tls, port)
    assert states(found) == dict.fromkeys(("network", "identity", "certificate", "clock"), State.OK)


@pytest.mark.parametrize(
    ("ahead", "state"),
    [
        (60, State.WARN),
        (-60, State.WARN),
        (200, State.FAIL),
        (-200, State.FAIL),
        (1, State.OK),
        (-1, State.OK),
    ],
)
def test_clocks_are_compared(tls, ahead, state):
    with serving(tls / "server.crt", tls / "server.key", ahead_s=ahead) as port:
        found = look(tls, port)
    assert found["clock"].state is state
    if state is not State.OK:
        assert ("behind" if ahead > 0 else "ahead of") in found["clock"].text


def test_a_hub_that_does_not_say_what_time_it_is_is_warned_of(tls):
    with serving(tls / "server.crt", tls / "server.key", dated=False) as port:
        assert look(tls, port)["clock"].state is State.WARN


def test_a_certificate_that_ends_soon_is_warned_of(tls, authority):
    key = (tls / "server.key").read_bytes()
    soon = issue_server(authority, "localhost", key, time.time() - 340 * DAY)
    (tls / "server.crt").write_bytes(soon)
    with serving(tls / "server.crt", tls / "server.key") as port:
        found = look(tls, port)
    assert found["certificate"].state is State.WARN
    assert "24 days" in found["certificate"].text


def test_a_certificate_that_ended_is_said_to_have_ended(tls, authority):
    key = (tls / "server.key").read_bytes()
    (tls / "server.crt").write_bytes(issue_server(authority, "localhost", key, time.time() - 400 * DAY))
    with serving(tls / "server.crt", tls / "server.key") as port:
        found = look(tls, port)
    assert states(found) == {"network": State.OK, "certificate": State.FAIL}
    assert "does not hold now" in found["certificate"].text


def test_another_machine_in_the_hubs_place_is_said_not_to_be_the_hub(tls):
    (tls / "ca.crt").write_bytes(new_authority("Hearts").certificate)
    with serving(tls / "server.crt", tls / "server.key") as port:
        found = look(tls, port)
    assert states(found) == {"network": State.OK, "identity": State.FAIL}
    assert "is not the hub" in found["identity"].text


def test_an_address_that_the_certificate_does_not_name_is_told_apart(tls):
    with serving(tls / "server.crt", tls / "server.key", host="127.0.0.2") as port:
        found = look(tls, port, host="127.0.0.2")
    assert states(found) == {"network": State.OK, "identity": State.FAIL}
    assert "not for 127.0.0.2" in found["identity"].text


def test_a_port_where_nothing_listens_is_named(tls):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = look(tls, port)
    assert states(found) == {"network": State.FAIL}
    assert f"nothing listens at localhost:{port}" in found["network"].text


def test_a_port_without_tls_is_told_apart(tls):
    with socket.create_server(("127.0.0.1", 0)) as plain:
        import threading

        def answer():
            connection, _ = plain.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        found = look(tls, plain.getsockname()[1], host="127.0.0.1")
        thread.join()
    assert "does not speak TLS" in found["certificate"].text


def test_a_certificate_file_that_is_missing_is_named(tls):
    (tls / "ca.crt").unlink()
    assert states(look(tls, 1)) == {"hub": State.FAIL}
