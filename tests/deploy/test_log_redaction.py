"""What a hub logs when sites fail over files that are named after patients: codes, never texts."""

import io
import json
import logging

import pytest
from small_federation import write_small_federation

from aggregator.server_app import app as server_app
from deploy.federation_file import FederationConfig
from deploy.inprocess import Node, run_in_process
from deploy.simulation import prepare
from federation import logs
from federation.errors import DataError
from site_agent import jobs
from site_agent.client_app import app as client_app

PATIENT = "mueller-hans-1957-03-12"


def lines_of(logger, process):
    """Catch what a process of its own would write: in this runtime all share one."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines(process, "chests"))
    logging.getLogger(logger).addHandler(handler)
    logging.getLogger(logger).setLevel(logging.DEBUG)
    return stream, handler


@pytest.fixture(scope="module", params=["expected", "unexpected"])
def run(request, tmp_path_factory):
    """Folder of a run in which a site fails, the hub's log and the console of the sites."""
    folder = tmp_path_factory.mktemp("redaction")
    prepared = prepare(FederationConfig.read(write_small_federation(folder, n=64)))
    nodes = [Node(client_app, {"site-config": str(path)}) for path in prepared.site_files]
    hub, hub_handler = lines_of("fedprint.hub", "aggregator")
    site, site_handler = lines_of("fedprint.site", "clientapp")
    error = DataError if request.param == "expected" else ValueError

    def fail(*_):
        raise error(f"{PATIENT}/thorax.png is cut short")

    config = {"hub-config": str(prepared.hub_file), "job-id": "job-77"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "open_source", fail)
        try:
            run_in_process(server_app, nodes, config)
        finally:
            logging.getLogger("fedprint.hub").removeHandler(hub_handler)
            logging.getLogger("fedprint.site").removeHandler(site_handler)
    logging.getLogger("fedprint.hub").info("")
    return folder, hub.getvalue(), site.getvalue()


def test_the_hub_logs_no_text_of_a_site(run):
    assert PATIENT not in run[1]
    assert "thorax" not in run[1]


def test_no_file_beside_the_catalogue_holds_it(run):
    hub = run[0] / "run"
    mine = [path for path in hub.rglob("*") if path.is_file() and "sites" not in path.relative_to(hub).parts]
    assert mine
    assert not [path for path in mine if PATIENT.encode() in path.read_bytes()]


def test_the_site_keeps_the_text_under_the_job(run):
    kept = [path for path in (run[0] / "run" / "sites").rglob("log.jsonl") if PATIENT in path.read_text()]
    assert kept
    events = [json.loads(line) for line in kept[0].read_text().splitlines() if line]
    assert {event["job"] for event in events} == {"job-77"}


def test_lines_of_a_job_name_it(run):
    lines = [json.loads(line) for line in (run[1] + run[2]).splitlines()]
    assert {line.get("job") for line in lines} <= {"job-77"}
