import json
import socket

import pytest
from observed import fetch, served
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from federation.errors import ConfigError
from federation.operations import families
from federation.operations.collector import PartsCollector
from federation.operations.server import Observatory, OperationsServer


class Fixed(PartsCollector):
    def collect(self):
        yield families.counters("fedprint_apples", "Apples.", ("kind",), {('a"\n',): 3})
        yield families.gauge("fedprint_pears", "Pears.", 0.5)


class Broken(PartsCollector):
    def collect(self):
        raise ValueError("patient-17.png")


def observatory(collector=Fixed, readiness=dict):
    registry = CollectorRegistry()
    registry.register(collector())
    return Observatory(registry, readiness)


def test_metrics_are_what_prometheus_reads():
    with served(observatory()) as address:
        status, kind, text = fetch(f"{address}/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    found = {f.name: [(s.labels, s.value) for s in f.samples] for f in text_string_to_metric_families(text)}
    assert found == {"fedprint_apples": [({"kind": 'a"\n'}, 3)], "fedprint_pears": [({}, 0.5)]}


def test_a_living_process_is_live_and_ready_only_where_nothing_stands_against_it():
    with served(observatory(readiness=lambda: {"disk": "no-room"})) as address:
        assert fetch(f"{address}/health")[::2] == (200, '{"status": "live"}\n')
        status, _, text = fetch(f"{address}/ready")
    assert (status, json.loads(text)) == (503, {"status": "not-ready", "because": {"disk": "no-room"}})
    with served(observatory()) as address:
        assert fetch(f"{address}/ready")[::2] == (200, '{"status": "ready"}\n')


@pytest.mark.parametrize("path", ["/", "/v1/control", "/metrics/../hub.toml", "/metricsx"])
def test_nothing_else_is_answered(path):
    with served(observatory()) as address:
        assert fetch(address + path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(method):
    with served(observatory()) as address:
        assert fetch(f"{address}/metrics", method)[0] == 501


def test_head_is_answered_without_a_body():
    with served(observatory()) as address:
        assert fetch(f"{address}/metrics", "HEAD")[::2] == (200, "")


def test_what_breaks_is_told_as_a_code_and_the_server_goes_on():
    with served(observatory(Broken)) as address:
        assert fetch(f"{address}/metrics")[::2] == (500, '{"status": "internal"}\n')
        assert fetch(f"{address}/health")[0] == 200


def test_a_client_that_sends_rubbish_ends_only_its_own_connection():
    with served(observatory()) as address:
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"\x16\x03\x01\x00\r\n\r\n")
            assert b"400" in client.recv(1000)
        assert fetch(f"{address}/health")[0] == 200


def test_the_answer_names_no_version_of_python():
    with (
        served(observatory()) as address,
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as client,
    ):
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert b"Python" not in client.recv(4000)


def test_a_port_that_is_taken_is_named():
    with served(observatory()) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(ConfigError, match=rf"127.0.0.1:{port}.*metrics_port"):
            OperationsServer("127.0.0.1", port, observatory())
