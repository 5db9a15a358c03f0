"""Every byte that leaves private sites in a whole simulated run, held against all that must not leave."""

import json

import numpy as np
import pytest
from sealed_wire import opened
from small_federation import SITES, write_small_federation

from aggregator.server_app import app as server_app
from deploy.federation_file import FederationConfig
from deploy.inprocess import Node, run_in_process
from deploy.simulation import prepare
from federation.container import unpack
from federation.fingerprint import Fingerprint
from federation.sampling import SamplingPlan
from federation.sketches import encode_arrays
from site_agent.client_app import app as client_app


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run in which every site is private, and its replies, before they are sealed."""
    folder = tmp_path_factory.mktemp("leaks")
    path = write_small_federation(folder, trusts=("private",) * 3, n=83)
    prepared = prepare(FederationConfig.read(path))
    nodes = [Node(client_app, {"site-config": str(path)}) for path in prepared.site_files]
    grid = run_in_process(server_app, nodes, {"hub-config": str(prepared.hub_file)}, record=True)
    return folder, opened(sent for sent in grid.sent if sent.direction == "up")


@pytest.fixture(scope="module")
def up(run):
    return b"\0".join(blob for sent in run[1] for blob in sent.blobs)


@pytest.fixture(scope="module")
def released(run):
    blobs = [blob.data for sent in run[1] for blob in sent.message.content["blobs"].values()]
    return {Fingerprint.from_bytes(data).site: data for data in blobs}


def state_of(run, site):
    return run[0] / "run" / "sites" / site


def exact_arrays(run, site):
    (kept,) = (state_of(run, site) / "sketches").iterdir()
    return unpack(kept.read_bytes(), "sketch")[1]


def test_only_fingerprints_and_small_headers_leave(up, released):
    assert set(released) == set(SITES)
    assert len(up) - sum(map(len, released.values())) < 20_000


@pytest.mark.parametrize("site", SITES)
def test_no_image_label_file_name_log_or_secret_leaves(run, up, site):
    content, state = np.load(run[0] / f"{site}.npz"), state_of(run, site)
    log = (state / "log.jsonl").read_bytes()
    assert len(log) > 50
    secrets = [
        content["images"][0].tobytes(), content["labels"].tobytes(), content["labels"][:16].tobytes(),
        f"{site}.npz".encode(), log, (state / "identity.key").read_bytes(), b"log.jsonl",
    ]  # fmt: skip
    assert not [secret for secret in secrets if secret in up]


@pytest.mark.parametrize("site", SITES)
def test_no_exact_number_of_the_sketch_leaves_in_its_place(run, up, released, site):
    noisy = encode_arrays(Fingerprint.from_bytes(released[site]).sketches)
    for name, exact in exact_arrays(run, site).items():
        if exact.size < 100:
            continue
        assert exact.astype("<i4").tobytes() not in up
        assert exact.astype("<i8").tobytes() not in up
        assert np.mean(noisy[name] == exact) < 0.05
        assert not np.array_equal(noisy[name].sum(axis=-1), exact.sum(axis=-1))


@pytest.mark.parametrize("site", SITES)
def test_the_header_names_no_exact_count(run, released, site):
    fingerprint = Fingerprint.from_bytes(released[site])
    assert (fingerprint.card.classes, fingerprint.provenance.n_unreadable) == ({}, None)
    assert fingerprint.provenance.sampling == SamplingPlan(None)
    header = unpack(released[site], "fingerprint")[0]
    del header["header"]["arrays"]
    noisy_n = header["header"]["card"].pop("n_images")
    assert noisy_n == max(1, round(fingerprint.sketches["histogram"].n))
    assert 83 not in numbers(header)


def numbers(value):
    """Every number of a JSON value, those in texts included where they are the whole text."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    if isinstance(value, str):
        return [int(value)] if value.isdecimal() else []
    return [value] if type(value) in (int, float) else []


def test_the_log_that_stays_knows_what_was_released(run):
    lines = (state_of(run, "anna") / "log.jsonl").read_text().split("\n")
    events = [json.loads(line) for line in lines if line]
    assert {event["event"] for event in events} == {"released", "sent", "log-witnessed"}
