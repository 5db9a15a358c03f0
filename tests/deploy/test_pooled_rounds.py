"""Aggregator and real sites together: a cohort's sum enters the catalogue, whoever dies on the way."""

import json

import numpy as np
import pytest
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from pooled_sites import COHORT, DELTA, EXACT, NAMES, TASK, write_pooled_sites
from private_site import KEY, SPACE, Colours
from round_sites import Killed, Mortal
from sealed_wire import answering, heard

from aggregator.cohort_config import CohortConfig
from aggregator.config import EnrolledSite, HubConfig
from aggregator.rounds.pooled import run_pooled_rounds
from aggregator.rounds.round_store import FINISHED, RoundStore
from aggregator.store import Catalogue
from deploy.inprocess import Node, run_in_process
from federation.identity import Identity
from federation.round_messages import STEPS, read_request
from site_agent import jobs
from site_agent.rounds.participation import answer_round

NOISE = {"eps": 6.0, "delta": DELTA, "images_per_patient": 2, "max_patients": 1000}


@pytest.fixture(autouse=True)
def colours_in_place_of_a_network(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_pooled_sites(tmp_path_factory.mktemp("sites"))


@pytest.fixture
def sites(written, tmp_path):
    return written.copy_to(tmp_path / "sites")


def app_of(site):
    app = ClientApp()

    @app.query("round")
    def answer(message, _context):
        own = site.open()
        reply = answer_round(own, read_request(heard(message, own.identity)))
        return answering(message, own.identity, reply.to_record(own.identity))

    return app


def hub_of(sites, folder, **cohort):
    hub = Identity.load_or_create("Test", folder / "hub.key")
    for site in sites.sites.values():
        policy = site.folder / "policy.toml"
        policy.write_text(policy.read_text().replace(KEY, hub.public_key))
    return HubConfig(
        consortium="Test",
        catalogue=folder / "catalogue.sqlite",
        key=folder / "hub.key",
        timeout_s=60,
        cohort=(CohortConfig(name=COHORT, task=TASK, sites=NAMES, **cohort),),
        site=tuple(EnrolledSite(name=name, public_key=key) for name, key in sites.members.items()),
    )


def pool(hub, sites, job_id, wrap=lambda grid: grid):
    ended, server = [], ServerApp()
    identity = Identity.load_or_create("Test", hub.key)

    @server.main()
    def main(grid, _context):
        catalogue = Catalogue(hub.catalogue, create=True)
        with catalogue.writing() as writer:
            writer.add_space(SPACE)
        try:
            ended.append(run_pooled_rounds(wrap(grid), identity, hub, SPACE, catalogue, job_id))
        finally:
            catalogue.close()

    nodes = [Node(app_of(site), {}) for site in sites.sites.values()]
    grid = run_in_process(server, nodes, {}, parallel=2, record=True)
    return ended[0], grid


def current(hub):
    catalogue = Catalogue(hub.catalogue)
    [entry] = [entry for entry in catalogue.listings(SPACE) if entry.current]
    return catalogue.fingerprint(entry.seq, SPACE)


@pytest.mark.parametrize("step", STEPS)
def test_an_aggregator_may_die_at_every_step_and_every_site_pays_once(sites, tmp_path, step):
    sites.pool(release_eps=6.0)
    hub = hub_of(sites, tmp_path, **NOISE)
    with pytest.raises(Killed):
        pool(hub, sites, "job-1", wrap=lambda grid: Mortal(grid, step, "pull"))
    outcome, _ = pool(hub, sites, "job-2")
    assert outcome.missing == (), [site.complaint() for site in sites.sites.values()]
    stated = current(hub).privacy
    assert (stated.sites, stated.honest) == (4, 2)
    assert [len(site.charges()) for site in sites.sites.values()] == [1] * 4
    assert [kept.status for kept in RoundStore.beside(hub.catalogue).rounds()] == [FINISHED]
    _, grid = pool(hub, sites, "job-3")
    assert grid.sent == []


def test_an_exact_sum_is_that_of_all_images(sites, tmp_path):
    sites.pool(**EXACT)
    hub = hub_of(sites, tmp_path)
    outcome, _ = pool(hub, sites, "job-1")
    assert outcome.missing == (), [site.complaint() for site in sites.sites.values()]
    fingerprint = current(hub)
    assert fingerprint.card.n_images == 4 * 8 * 2
    counts = fingerprint.sketches["histogram"].counts
    assert np.array_equal(counts.sum(axis=1), [64] * SPACE.n_features)
    assert [site.charges() for site in sites.sites.values()] == [[]] * 4
    kept = RoundStore.beside(hub.catalogue).rounds()[0]
    assert json.loads((kept.folder / "finished.json").read_bytes())["result"] == fingerprint.fingerprint_id
