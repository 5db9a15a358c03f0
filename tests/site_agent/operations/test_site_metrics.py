import json
import re
import subprocess
import sys
import time

import pytest
from observed import fetch, one, samples, say_what_runs, served
from private_site import Colours, colour_space, write_private_site
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from federation.files import locked, write_atomically
from site_agent import jobs
from site_agent.ledger.storage import LedgerFiles
from site_agent.operations.collector import SiteCollector
from site_agent.operations.server import main, observatory, readiness
from site_agent.operations.site_reading import SiteParts
from site_agent.site_folder import SiteFolder

MOST_EPS = 6.0


@pytest.fixture(autouse=True)
def _colours(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture
def site(tmp_path):
    found = write_private_site(tmp_path / "anna")
    found.approve()
    found.forget_the_open_ledger()
    return found


def folder_of(site):
    return SiteFolder(site.folder)


def metrics_text(site):
    registry = CollectorRegistry()
    registry.register(SiteCollector(SiteParts.of(folder_of(site))))
    return generate_latest(registry).decode()


def metrics(site):
    return samples(metrics_text(site))


def connect(site, *, connected=True):
    status = {"connected": connected, "since": time.time() - 50, "last_error": "cable", "waiting_bundles": 0}
    write_atomically(folder_of(site).link_status, json.dumps(status | {"updated": time.time()}).encode())


def budget(found, column, scope="task", name="lungs"):
    return one(found, f"fedprint_site_budget_{column}", scope=scope, name=name, delta="1e-06")


def test_a_release_is_counted_and_its_budget_is_spent(site):
    before = metrics(site)
    site.release("job-1")
    site.release("job-2")
    found = metrics(site)
    assert one(found, "fedprint_site_releases_total", task="lungs", mode="private") == 1
    assert one(found, "fedprint_site_releases_again_total", task="lungs") == 1
    assert budget(before, "spent_eps") == 0
    assert budget(before, "left_eps") == pytest.approx(MOST_EPS, rel=1e-3)
    assert 0 < budget(found, "spent_eps") <= 1.001
    assert budget(found, "left_eps") < budget(before, "left_eps")
    assert budget(found, "spent_rho", "population", "patients") == budget(found, "spent_rho") > 0
    assert budget(found, "limit_rho") == budget(before, "limit_rho")


def test_what_was_refused_is_counted_by_code(site):
    site.ask("job-1", aggregator="cd" * 32)
    site.ask("job-2", deadline=time.time() - 1)
    found = metrics(site)
    assert one(found, "fedprint_site_failures_total", task="", code="policy") == 1
    assert one(found, "fedprint_site_failures_total", task="lungs", code="deadline") == 1


def test_replies_are_counted_with_their_size(site):
    for size in (1000, 24):
        site.open().state.record("sent", job="job-1", aggregator="ab" * 32, bytes=size)
    found = metrics(site)
    assert one(found, "fedprint_site_replies_total") == 2
    assert one(found, "fedprint_site_reply_bytes_total") == 1024
    assert one(found, "fedprint_site_last_reply_timestamp_seconds") == pytest.approx(time.time(), abs=600)


def test_bundles_that_wait_and_the_connection_are_seen(site):
    connect(site)
    for digest in ("a" * 64, "b" * 64):
        write_atomically(folder_of(site).waiting_bundles / f"{digest}.fab", b"x")
    found = metrics(site)
    assert one(found, "fedprint_site_waiting_bundles") == 2
    assert one(found, "fedprint_site_connected") == 1
    connect(site, connected=False)
    assert one(metrics(site), "fedprint_site_connected") == 0


PATIENTS, IMAGES = 137, 3
PLANTED = ("patient-", ".png", "labels.csv", "images", "ill", "well")


def numbers_in(text):
    """Every value of a metric, and every number in a label."""
    values = {float(line.rpartition(" ")[2]) for line in text.splitlines() if line and line[0] != "#"}
    return values | {float(number) for label in re.findall(r'"([^"]*)"', text) for number in _digits(label)}


def _digits(label):
    return re.findall(r"\d+", label)


def test_no_patient_no_file_name_and_no_number_of_images_is_told(tmp_path):
    site = write_private_site(tmp_path / "anna", patients=range(PATIENTS))
    site.admit(range(PATIENTS, PATIENTS + 1), images=IMAGES)
    (site.folder / "images" / "17-0.png").write_bytes(b"no picture")
    (site.folder / "images" / "18-1.png").write_bytes(b"no picture")
    text = (site.folder / "site.toml").read_text()
    (site.folder / "site.toml").write_text(text + "max_unreadable = 0.2\n")
    site.approve()
    site.forget_the_open_ledger()
    site.release("job-1")
    site.set_policy(minimum_patients=PATIENTS + 50)
    site.refusal("job-2", space=another_space())
    log = site.open().state.log_path.read_text()
    assert "17-0.png" in log
    text = metrics_text(site)
    assert not [planted for planted in PLANTED if planted in text]
    n_images = 2 * PATIENTS + IMAGES
    per_class = {PATIENTS + 2, PATIENTS + 1}
    exact = {n_images, n_images - 2, PATIENTS, PATIENTS + 1, 2, PATIENTS + 50} | per_class
    told = numbers_in("\n".join(line for line in text.splitlines() if "fedprint_process" not in line))
    assert not exact & told


def another_space():
    return colour_space("others")


def test_events_about_single_images_are_counted_nowhere(site):
    before = metrics(site)
    for number in range(41):
        site.open().state.record("unreadable", job="job-1", task="lungs", image=f"{number}.png", text="cut")
    after = metrics(site)
    changed = {key for key in after if after[key] != before.get(key)}
    assert not {key for key in changed if "disk" not in key[0]}


def test_a_task_that_a_request_makes_up_becomes_no_label(site):
    site.open().state.record("transfer-failed", job="job-1", task="made-up", code="transfer", text="-")
    text = metrics_text(site)
    assert "made-up" not in text
    assert one(samples(text), "fedprint_site_failures_total", task="", code="transfer") == 1


def damage_ledger(site):
    (site.state / "ledger.jsonl").write_text("{}\n")


def lose_policy(site):
    (site.folder / "policy.toml").unlink()


def log_is_a_folder(site):
    (site.state / "log.jsonl").unlink(missing_ok=True)
    (site.state / "log.jsonl").mkdir()


@pytest.mark.parametrize(
    ("damage", "part", "code"),
    [
        (damage_ledger, "budgets", "ledger"),
        (lose_policy, "budgets", "policy"),
        (log_is_a_folder, "activity", "store"),
    ],
)
def test_a_part_that_cannot_be_read_is_named_and_the_others_are_there(site, damage, part, code):
    site.release("job-1")
    say_what_runs(folder_of(site).supervisor_status, supernode=0)
    damage(site)
    found = metrics(site)
    assert one(found, "fedprint_part_unreadable", part=part, code=code) == 1
    assert one(found, "fedprint_process_up", process="supernode") == 1
    assert readiness(SiteParts.of(folder_of(site)))[part] == code


def test_a_ledger_that_is_being_charged_is_told_as_it_was_known(site):
    site.release("job-1")
    parts = SiteParts.of(folder_of(site))
    known = parts.read().budgets
    with locked(LedgerFiles(site.state).lock):
        assert parts.read().budgets == known


def test_the_log_is_read_on_and_a_line_that_is_still_written_counts_once_it_is_whole(site):
    parts, log = SiteParts.of(folder_of(site)), site.open().state.log_path
    site.release("job-1")
    assert sum(parts.read().activity.releases.values()) == 1
    line = json.dumps({"at": 1.0, "event": "released", "job": "job-2", "task": "lungs", "mode": "open"})
    with log.open("a") as file:
        file.write("\nno json\n[]\n" + line[:30])
        file.flush()
        assert sum(parts.read().activity.releases.values()) == 1
        file.write(line[30:] + "\n")
    assert sum(parts.read().activity.releases.values()) == 2
    log.write_text(line + "\n")
    assert sum(parts.read().activity.releases.values()) == 1


def test_only_the_latest_jobs_are_remembered(site):
    for number in range(50):
        site.open().state.record("sent", job=f"job-{number}", aggregator="ab" * 32, bytes=1)
    jobs_seen = SiteParts.of(folder_of(site)).read().activity.jobs
    assert list(jobs_seen) == [f"job-{number}" for number in range(30, 50)]


def test_a_site_is_ready_when_everything_runs_and_the_hub_is_reached(site):
    say_what_runs(folder_of(site).supervisor_status, supernode=0)
    connect(site)
    assert readiness(SiteParts.of(folder_of(site))) == {}
    connect(site, connected=False)
    assert readiness(SiteParts.of(folder_of(site))) == {"hub": "disconnected"}


def test_it_is_served(site):
    say_what_runs(folder_of(site).supervisor_status, supernode=0)
    connect(site)
    with served(observatory(SiteParts.of(folder_of(site)))) as address:
        status, _, text = fetch(f"{address}/metrics")
        assert json.loads(fetch(f"{address}/ready")[2]) == {"status": "ready"}
    assert status == 200
    assert one(samples(text), "fedprint_info", version="0.1.0", side="site", member="anna") == 1


def test_a_folder_without_a_site_ends_the_process_with_one_line(tmp_path, caplog):
    assert main([str(tmp_path)]) == 1
    assert "site.toml" in caplog.text


def test_the_process_loads_neither_flower_nor_torch():
    code = "import sys, site_agent.operations.server; print({'flwr', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
