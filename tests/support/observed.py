"""Hubs and sites that are observed in tests, and what their metrics say."""

import json
import os
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

from aggregator.founding import Founding, found_hub
from aggregator.hub_folder import HubFolder
from aggregator.store import Catalogue
from federation.files import write_atomically
from federation.operations.server import OperationsServer


def observed_hub(path):
    """A hub that was founded and has an empty catalogue."""
    found_hub(path, Founding("Chests", "127.0.0.1:8000"))
    Catalogue(path / "catalogue.sqlite", create=True).close()
    return HubFolder(path)


def say_what_runs(status, pid=None, **programs):
    """Write a supervisor's status file; a program is its number of restarts, None: it does not run."""
    told = {
        name: {
            "pid": None if restarts is None else 1,
            "began_at": 0.0,
            "restarts": restarts or 0,
            "last_exit": 1 if restarts is None else None,
            "last_exit_at": None,
        }
        for name, restarts in programs.items()
    }
    content = {"pid": pid or os.getpid(), "began_at": 0.0, "stopping": False, "programs": told}
    write_atomically(status, json.dumps(content).encode())


def samples(text):
    """Sample and labels → value, as Prometheus reads them."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def one(found, metric, /, **labels):
    """The value of one sample."""
    return found[metric, *sorted(labels.items())]


@contextmanager
def served(observatory):
    """The address at which an observatory answers."""
    server = OperationsServer("127.0.0.1", 0, observatory)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def fetch(url, method="GET"):
    """Status, content type and text of an answer."""
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()
