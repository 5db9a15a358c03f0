"""Every message starts a process at a site: what needs no image must not wait for PyTorch."""

import pickle
import subprocess
import sys

import pytest
from factories import FAR_FUTURE, make_job
from small_federation import write_small_federation
from small_transfer import write_small_transfer

from aggregator.config import HubConfig
from deploy.federation_file import FederationConfig
from deploy.simulation import prepare
from deploy.transfer_simulation import prepare_transfer
from federation.identity import Identity
from federation.messages import DONE, WITHHELD, FingerprintRequest
from federation.sampling import SamplingPlan
from federation.space import Space
from federation.transfer.messages import RollCallRequest
from site_agent.jobs import Site, fingerprint_tasks

HEAVY = {"opacus", "pydicom", "scipy", "sklearn", "timm", "torch", "torchvision"}

ANSWER = """
import pickle, sys
from pathlib import Path
import site_agent.client_app
from site_agent.jobs import Site, fingerprint_tasks
request = pickle.loads(Path(sys.argv[2]).read_bytes())
reply = fingerprint_tasks(Site.open(Path(sys.argv[1])), request)
print(*[result.code for result in reply.results], sep=",")
print(*sorted(set(name.partition(".")[0] for name in sys.modules)), sep=",")
"""

ROLL_CALL = (
    ANSWER.replace("from site_agent.jobs import Site, fingerprint_tasks", "")
    .replace(
        "reply = fingerprint_tasks(",
        """from site_agent.jobs import Site
from site_agent.transfer.participation import answer_roll_call
reply = answer_roll_call(""",
    )
    .replace("result.code for result in reply.results", "offer.task for offer in reply.offers")
)


def in_a_process_of_its_own(script, *arguments):
    """What the script printed, and which heavy libraries it had loaded at its end."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    said, modules = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return said, HEAVY & set(modules.split(","))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cheap")
    trusts = ("open", "private", "listen")
    return prepare(FederationConfig.read(write_small_federation(folder, trusts=trusts)))


@pytest.fixture
def request_of(prepared, tmp_path):
    """Write the request of a job into a file."""

    def write(job_id):
        request = fingerprint_request(prepared, job_id)
        path = tmp_path / f"{job_id}.request"
        path.write_bytes(pickle.dumps(request))
        return path

    return write


def fingerprint_request(prepared, job_id):
    hub = Identity.load_or_create("Small", HubConfig.read(prepared.hub_file).key)
    space = Space.from_bytes((prepared.catalogue.parent / "space.safetensors").read_bytes())
    job = make_job(job_id, deadline=FAR_FUTURE, aggregator=hub.public_key)
    return FingerprintRequest(job, space, SamplingPlan(None))


@pytest.mark.parametrize(("site", "job_id"), [(0, "job-1"), (0, "job-2"), (1, "job-1"), (1, "job-2")])
def test_what_was_sketched_or_released_before_is_answered_without_a_network(
    prepared, request_of, site, job_id
):
    path = prepared.site_files[site]
    fingerprint_tasks(Site.open(path), fingerprint_request(prepared, "job-1"))
    assert in_a_process_of_its_own(ANSWER, path, request_of(job_id)) == (DONE, set())


def test_a_listening_task_withholds_without_a_network(prepared, request_of):
    assert in_a_process_of_its_own(ANSWER, prepared.site_files[2], request_of("job-1")) == (WITHHELD, set())


def test_a_roll_call_is_answered_without_a_network(tmp_path):
    prepared = prepare_transfer(write_small_transfer(tmp_path)).prepared
    hub = Identity.load_or_create("Small", HubConfig.read(prepared.hub_file).key)
    request = tmp_path / "roll-call.request"
    job = make_job("job-1", deadline=FAR_FUTURE, aggregator=hub.public_key)
    request.write_bytes(pickle.dumps(RollCallRequest(job)))
    assert in_a_process_of_its_own(ROLL_CALL, prepared.site_files[0], request) == ("digits", set())


@pytest.mark.parametrize("module", ["site_agent.client_app", "site_agent.cli", "aggregator.server_app"])
def test_entries_of_sites_and_aggregators_start_without_heavy_libraries(module):
    script = (
        f"import sys, {module}\nprint()\nprint(*(name.partition('.')[0] for name in sys.modules), sep=',')"
    )
    assert in_a_process_of_its_own(script) == ("", set())
