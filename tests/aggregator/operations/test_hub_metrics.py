import json
import sqlite3
import subprocess
import sys
import time

import pytest
from factories import make_fingerprint, make_identity, make_space
from memberships import membership, put, revoke
from observed import fetch, observed_hub, one, samples, say_what_runs, served
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from aggregator.jobs.queue import JobQueue
from aggregator.operations.collector import HubCollector
from aggregator.operations.hub_reading import HubParts
from aggregator.operations.server import main, observatory, readiness
from aggregator.store import Catalogue
from federation.identity import Identity

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture
def hub(tmp_path):
    folder = observed_hub(tmp_path / "hub")
    say_what_runs(folder.supervisor_status, superlink=2, runner=0)
    return folder


def metrics(hub, clock=lambda: NOW):
    registry = CollectorRegistry()
    registry.register(HubCollector(HubParts.of(hub, clock)))
    return samples(generate_latest(registry).decode())


def queue_of(hub):
    times = iter(range(int(NOW) - 100, int(NOW)))
    return JobQueue(Catalogue(hub.path / "catalogue.sqlite"), lambda: float(next(times)))


def test_jobs_are_counted_by_kind_and_state(hub):
    queue = queue_of(hub)
    for job_id in ("a", "b", "c"):
        queue.ask("fingerprint", job_id=job_id)
    for _ in range(3):
        queue.began("a", "7")
    queue.finished("a")
    queue.began("b", "8")
    queue.failed("b", "store", "no room on /srv")
    found = metrics(hub)
    assert one(found, "fedprint_hub_jobs", kind="fingerprint", state="done") == 1
    assert one(found, "fedprint_hub_jobs", kind="fingerprint", state="running") == 0
    assert one(found, "fedprint_hub_queue_length") == 1
    assert one(found, "fedprint_hub_job_attempts_total", kind="fingerprint") == 4
    assert one(found, "fedprint_hub_job_failures_total", kind="fingerprint", code="store") == 1
    at = one(found, "fedprint_hub_job_last_done_timestamp_seconds", kind="fingerprint")
    assert NOW - 100 < at < NOW
    assert "no room" not in str(found)


def test_an_empty_hub_has_metrics_too(hub):
    found = metrics(hub)
    assert one(found, "fedprint_hub_queue_length") == 0
    assert one(found, "fedprint_hub_fingerprints") == 0
    assert one(found, "fedprint_hub_database_up") == 1
    assert one(found, "fedprint_hub_members", standing="valid") == 0
    assert not [key for key in found if key[0] == "fedprint_part_unreadable" and found[key]]


def test_current_fingerprints_are_counted(hub, tmp_path):
    store, space = Catalogue(hub.path / "catalogue.sqlite"), make_space()
    anna = make_identity("anna", tmp_path)
    with store.writing() as writer:
        writer.add_space(space)
        for task in ("lungs", "skin"):
            writer.add_fingerprint(make_fingerprint(anna, task, space))
        writer.withdraw(1)
    assert one(metrics(hub), "fedprint_hub_fingerprints") == 1


def test_processes_restarts_and_disk_are_seen(hub):
    say_what_runs(hub.supervisor_status, superlink=2, runner=None)
    found = metrics(hub)
    assert one(found, "fedprint_process_up", process="superlink") == 1
    assert one(found, "fedprint_process_up", process="runner") == 0
    assert one(found, "fedprint_process_restarts_total", process="superlink") == 2
    assert 0 < one(found, "fedprint_disk_free_bytes") <= one(found, "fedprint_disk_size_bytes")


def test_certificates_say_when_they_end(hub):
    found = metrics(hub, time.time)
    for name in ("server", "ca"):
        left = one(found, "fedprint_expires_timestamp_seconds", kind="certificate", name=name) - time.time()
        assert left > 30 * DAY


def test_members_say_when_they_end_unless_they_are_out(hub):
    key = Identity.load("Chests", hub.key)
    for site in ("anna", "bern"):
        put(hub.members, membership(site=site, consortium="Chests", valid_until=int(NOW + 9 * DAY), hub=key))
    revoke(hub.members, "bern", 1, hub=key)
    found = metrics(hub)
    assert one(found, "fedprint_hub_members", standing="revoked") == 1
    ends = {
        dict(key[1:])["name"]: value for key, value in found.items() if key[0].startswith("fedprint_expires")
    }
    assert ends["anna"] == NOW + 9 * DAY
    assert "bern" not in ends


def break_catalogue(hub):
    (hub.path / "catalogue.sqlite").write_bytes(b"no database at all" * 100)


def remove_catalogue(hub):
    (hub.path / "catalogue.sqlite").unlink()


def break_certificate(hub):
    hub.server_certificate.write_text("none")


def lose_key(hub):
    (hub.path / "hub.key").unlink()


def break_status(hub):
    hub.supervisor_status.write_text("{")


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (break_catalogue, "catalogue"),
        (remove_catalogue, "catalogue"),
        (break_certificate, "certificates"),
        (lose_key, "members"),
        (break_status, "processes"),
    ],
)
def test_a_part_that_cannot_be_read_is_named_and_the_others_are_there(hub, damage, part):
    damage(hub)
    found = metrics(hub)
    bad = {dict(key[1:])["part"] for key in found if key[0] == "fedprint_part_unreadable" and found[key]}
    assert bad == {part}
    assert one(found, "fedprint_hub_database_up") == float(part != "catalogue")
    assert one(found, "fedprint_disk_free_bytes") > 0
    assert part in readiness(HubParts.of(hub))


def test_a_catalogue_that_somebody_locks_delays_nothing_else(hub):
    parts = HubParts.of(hub)
    parts.catalogue._patience_s = 0.05
    holder = sqlite3.connect(hub.path / "catalogue.sqlite")
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        reading = parts.read()
    finally:
        holder.close()
    assert reading.readings.codes == {"catalogue": "busy"}
    assert reading.disk is not None


def test_a_hub_is_ready_when_everything_runs_and_not_when_something_stopped(hub):
    assert readiness(HubParts.of(hub)) == {}
    say_what_runs(hub.supervisor_status, superlink=0, runner=None)
    assert readiness(HubParts.of(hub)) == {"processes": "stopped"}


def test_a_hub_whose_certificate_ended_is_not_ready(hub):
    assert readiness(HubParts.of(hub, lambda: 4e9)) == {"certificates": "expired"}


def test_it_is_served(hub):
    with served(observatory(HubParts.of(hub))) as address:
        status, _, text = fetch(f"{address}/metrics")
        assert json.loads(fetch(f"{address}/ready")[2]) == {"status": "ready"}
    assert status == 200
    assert one(samples(text), "fedprint_info", version="0.1.0", side="hub", member="Chests") == 1


def test_a_folder_without_a_hub_ends_the_process_with_one_line(tmp_path, caplog):
    assert main([str(tmp_path)]) == 1
    assert "hub.toml" in caplog.text


def test_the_process_loads_neither_flower_nor_torch():
    code = "import sys, aggregator.operations.server; print({'flwr', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
