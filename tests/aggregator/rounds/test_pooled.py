"""Pooled fingerprints in the catalogue: asked for once, exact to the last bit, and nobody else's business."""

from dataclasses import replace

import cohorts
import numpy as np
import pytest
from dying_server import DyingServer
from factories import make_features, make_noisy_space, make_space
from flwr.serverapp import ServerApp
from round_sites import Killed, Mortal, RoundSite, refusing, unreachable
from sealed_wire import answering, heard

from aggregator.cohort_config import CohortConfig
from aggregator.config import EnrolledSite, HubConfig
from aggregator.rounds import pooled as module
from aggregator.rounds.fingerprint import run_fingerprint_job
from aggregator.rounds.pooled import run_calibration_job, run_pooled_rounds
from aggregator.rounds.round_store import ABANDONED, FINISHED, OPENED, RoundStore
from aggregator.store import Catalogue
from deploy.inprocess import Node, run_in_process
from federation.errors import ConfigError
from federation.identity import Identity
from federation.messages import WITHHELD, FingerprintRequest, ListenRequest, SiteReply, TaskResult
from federation.pooled import PooledRelease
from federation.privacy.noise import discrete_gaussian
from federation.round_messages import MASK, STEPS
from federation.sketches import zeros
from federation.trust import TrustMode

PLAIN = make_space(8)
NAMES = ("anna", "bern", "cork", "dora")
CHESTS = CohortConfig(name="chests", task="lungs", sites=NAMES, title="Lungs", keywords=("X-ray",))
ADDRESS = "chests/lungs"


def exact(site, space):
    features = make_features(NAMES.index(site), 40 + NAMES.index(site))
    return {kind: sketch.update(features) for kind, sketch in zeros(space).items()}


def contribution(site, request):
    """What a site adds to a round: its sketches, and noise where the terms say so."""
    release = PooledRelease.of_terms(request.terms, request.space)
    features = np.repeat(make_features(NAMES.index(site), 40), release.weight, axis=0)
    if release.is_exact:
        return release.to_vector(exact(site, request.space))
    sketches = {kind: sketch.update(features) for kind, sketch in zeros(request.space).items()}
    sizes = {name: int(np.prod(shape)) for name, shape in release.layout(request.space).items()}
    noise = [discrete_gaussian(size, release.noise[name]) for name, size in sizes.items()]
    return release.to_vector(sketches) + np.concatenate(noise)


def make_sites(**faults):
    return [
        RoundSite(
            name, lambda request, own=name: contribution(own, request), faults.get(name, {}), ("chests",)
        )
        for name in NAMES
    ]


def app_of(site):
    """A site whose task is pooled: nothing of its own leaves."""
    app = site.app()

    def answer(message, request):
        job, results = request.job, (TaskResult("lungs", WITHHELD),)
        reply = SiteReply(site.name, job.job_id, job.nonce, results)
        return answering(message, site.identity, reply.to_record(site.identity))

    def read(kind, message):
        return kind.from_record(heard(message, site.identity))

    app.query("fingerprint")(lambda m, _: answer(m, read(FingerprintRequest, m)))
    app.query("listen")(lambda m, _: answer(m, read(ListenRequest, m)))
    return app


@pytest.fixture
def hub(tmp_path, place):
    (tmp_path / "space").write_bytes(PLAIN.to_bytes())
    return HubConfig(
        consortium="Test",
        catalogue=place,
        space=tmp_path / "space",
        key=tmp_path / "hub.key",
        timeout_s=20,
        cohort=(CHESTS,),
        site=tuple(EnrolledSite(name=n, public_key=cohorts.identity(n).public_key) for n in NAMES),
    )


def with_space(hub, space):
    hub.space.write_bytes(space.to_bytes())
    return hub


def go(job, sites):
    """Run something with a grid to these sites."""
    ended, server = [], ServerApp()

    @server.main()
    def main(grid, _context):
        ended.append(job(grid))

    grid = run_in_process(server, [Node(app_of(site), {}) for site in sites], {}, parallel=2, record=True)
    return ended[0], grid


def pool(hub, sites, job_id="job-1", space=PLAIN, wrap=lambda grid: grid):
    aggregator = Identity.load_or_create(hub.consortium, hub.key)
    catalogue = Catalogue(hub.catalogue, create=True)
    with catalogue.writing() as writer:
        writer.add_space(space)
    try:
        return go(
            lambda grid: run_pooled_rounds(wrap(grid), aggregator, hub, space, catalogue, job_id), sites
        )
    finally:
        catalogue.close()


def current(hub, space=PLAIN):
    catalogue = Catalogue(hub.catalogue)
    try:
        return {
            entry.key: catalogue.fingerprint(entry.seq, space)
            for entry in catalogue.listings(space)
            if entry.current
        }
    finally:
        catalogue.close()


def events(hub, kind):
    catalogue = Catalogue(hub.catalogue)
    try:
        return [event for event in catalogue.events() if event["kind"] == kind]
    finally:
        catalogue.close()


def statuses(hub):
    return [kept.status for kept in RoundStore.beside(hub.catalogue).rounds()]


def counts(*names):
    return sum(exact(name, PLAIN)["histogram"].counts for name in names)


def test_the_sum_in_the_catalogue_is_that_of_the_sketches_to_the_last_bit(hub):
    outcome, _ = pool(hub, make_sites())
    assert (outcome.accepted, outcome.missing) == ((ADDRESS,), ())
    [fingerprint] = current(hub).values()
    assert np.array_equal(fingerprint.sketches["histogram"].counts, counts(*NAMES))
    assert fingerprint.card.n_images == 40 + 41 + 42 + 43
    assert (fingerprint.card.title, fingerprint.card.keywords) == ("Lungs", ("X-ray",))
    assert (fingerprint.privacy.mode, fingerprint.privacy.sites) == (TrustMode.POOLED, 4)
    assert fingerprint.provenance.arithmetic == "pooled"
    fingerprint.verify(Identity.load_or_create("Test", hub.key).public_key)
    assert statuses(hub) == [FINISHED]


def test_the_log_says_who_contributed_and_who_left_where(hub):
    pool(hub, make_sites(dora={MASK: refusing("budget")}))
    [told] = events(hub, "round")
    assert told["contributors"] == ["anna", "bern", "cork"]
    assert told["departures"] == {MASK: ["dora"]}
    [kept] = RoundStore.beside(hub.catalogue).rounds()
    assert (told["round"], told["digest"]) == (kept.terms.round_id, kept.terms.digest.hex())
    assert current(hub)[ADDRESS].privacy.sites == 3
    assert np.array_equal(current(hub)[ADDRESS].sketches["histogram"].counts, counts("anna", "bern", "cork"))


def test_what_stands_is_not_asked_for_again(hub):
    pool(hub, make_sites())
    before = current(hub)[ADDRESS].to_bytes()
    outcome, grid = pool(hub, make_sites(), "job-2")
    assert outcome.accepted == (ADDRESS,)
    assert grid.sent == []
    assert current(hub)[ADDRESS].to_bytes() == before


def test_what_stands_is_replaced_once_it_is_old(hub):
    daily = hub.model_copy(update={"cohort": (CHESTS.model_copy(update={"refresh_days": 0.0}),)})
    pool(daily, make_sites())
    _, grid = pool(daily, make_sites(), "job-2")
    assert grid.sent != []
    assert statuses(hub) == [FINISHED, FINISHED]


@pytest.mark.parametrize("change", [{"colluders": 0}, {"sites": NAMES[:3]}, {"max_patients": 5_000}])
def test_another_question_is_asked(hub, change):
    pool(hub, make_sites())
    other = hub.model_copy(update={"cohort": (CHESTS.model_copy(update=change),)})
    _, grid = pool(other, make_sites(), "job-2")
    assert grid.sent != []
    assert list(current(hub)) == [ADDRESS]


def test_a_cohort_that_is_configured_again_is_not_asked_again(hub):
    sites = make_sites()
    go(lambda grid: run_fingerprint_job(grid, hub, "job-1"), sites)
    before = current(hub)[ADDRESS].fingerprint_id
    go(lambda grid: run_fingerprint_job(grid, hub.model_copy(update={"cohort": ()}), "job-2"), sites)
    assert current(hub) == {}
    asked = sites[0].n_asked[MASK]
    go(lambda grid: run_fingerprint_job(grid, hub, "job-3"), sites)
    assert current(hub)[ADDRESS].fingerprint_id == before
    assert sites[0].n_asked[MASK] == asked


def test_the_fingerprint_job_pools_and_its_members_rank_for_themselves(hub):
    summary, _ = go(lambda grid: run_fingerprint_job(grid, hub, "job-1"), make_sites())
    assert summary.accepted == (ADDRESS,)
    assert summary.listening == tuple(f"{name}/lungs" for name in NAMES)
    again, _ = go(lambda grid: run_fingerprint_job(grid, hub, "job-2"), make_sites())
    assert again.accepted == (ADDRESS,)


def test_a_cohort_that_cannot_be_opened_is_missing_and_the_others_are_not(hub):
    twice = hub.model_copy(update={"cohort": (CHESTS.model_copy(update={"name": "others"}), CHESTS)})
    outcome, _ = pool(twice, make_sites())
    assert outcome.accepted == (ADDRESS,)
    assert [(each.site, each.code) for each in outcome.missing] == [("others", "too-few")]
    told = [event["state"] for event in events(hub, "round")]
    assert told == [ABANDONED, OPENED]


def test_too_few_members_open_nothing_and_what_stood_stays(hub):
    pool(hub, make_sites())
    before = current(hub)[ADDRESS]
    daily = hub.model_copy(update={"cohort": (CHESTS.model_copy(update={"refresh_days": 0.0}),)})
    lost = dict.fromkeys(STEPS, unreachable)
    outcome, _ = pool(daily, make_sites(anna=lost, bern=lost), "job-2")
    assert [each.code for each in outcome.missing] == ["too-few"]
    assert current(hub)[ADDRESS] == before


@pytest.mark.parametrize("step", STEPS)
def test_a_job_that_died_is_gone_on_with(hub, step):
    sites = make_sites()
    with pytest.raises(Killed):
        pool(hub, sites, wrap=lambda grid: Mortal(grid, step, "pull"))
    pool(hub, sites, "job-2")
    assert np.array_equal(current(hub)[ADDRESS].sketches["histogram"].counts, counts(*NAMES))
    assert statuses(hub) == [FINISHED]


@pytest.mark.parametrize("where", ["add_fingerprint", "finish"])
def test_a_sum_is_not_lost_between_opening_and_catalogue(hub, monkeypatch, where):
    sites = make_sites()

    def die(*_args):
        raise Killed

    owner = module.KeptRound if where == "finish" else type(_writer(hub))
    monkeypatch.setattr(owner, where, die)
    with pytest.raises(Killed):
        pool(hub, sites)
    monkeypatch.undo()
    assert statuses(hub) == [OPENED]
    outcome, grid = pool(hub, sites, "job-2")
    assert outcome.accepted == (ADDRESS,)
    assert grid.sent == []
    assert statuses(hub) == [FINISHED]
    assert np.array_equal(current(hub)[ADDRESS].sketches["histogram"].counts, counts(*NAMES))


def _writer(hub):
    catalogue = Catalogue(hub.catalogue, create=True)
    with catalogue.writing() as writer:
        return writer


def test_a_sum_that_no_images_can_have_is_refused(hub):
    """A member that adds numbers of its own invention spoils the sum, and is not silently believed."""
    sites = make_sites()
    sites[0].values = lambda request: contribution("anna", request) + np.arange(48, dtype=np.int64)
    outcome, _ = pool(hub, sites)
    assert [each.code for each in outcome.missing] == ["fingerprint"]
    assert statuses(hub) == [ABANDONED]
    assert current(hub) == {}
    assert events(hub, "round")[-1]["why"]


NOISY = {"rho": "1/2", "delta": 1e-6, "images_per_patient": 1}


def test_a_sum_with_noise_says_what_protects_its_patients(hub):
    space = make_noisy_space("cdf", "histogram")
    noisy = CohortConfig(name="chests", task="lungs", sites=NAMES, max_patients=1000, **NOISY)
    hub = with_space(hub, space).model_copy(update={"cohort": (noisy,)})
    outcome, _ = pool(hub, make_sites(), space=space)
    assert outcome.missing == ()
    [fingerprint] = current(hub, space).values()
    stated = fingerprint.privacy
    assert (stated.sites, stated.honest, stated.images_per_patient) == (4, 2, 1)
    release = module.release_of(noisy, space)
    assert stated.noise == {name: 4 * share for name, share in release.noise.items()}
    deviation = max(stated.noise.values()) ** 0.5
    assert abs(fingerprint.card.n_images - 160) < 8 * deviation


def test_calibration_opens_one_cohort_and_asks_for_nothing_else(hub):
    outcome, grid = go(lambda grid: run_calibration_job(grid, hub, "job-1", "chests"), make_sites())
    assert outcome.accepted == (ADDRESS,)
    kinds = {each.message.metadata.message_type for each in grid.sent}
    assert kinds == {"query.round", "query.witness"}
    with pytest.raises(ConfigError, match="nobody"):
        run_calibration_job(grid, hub, "job-2", "nobody")


def test_calibration_does_not_touch_the_catalogue_of_another_space(hub):
    pool(hub, make_sites())
    coarse = with_space(hub, replace(make_space(4), name="coarse"))
    with pytest.raises(ConfigError, match="catalogue of its own"):
        run_calibration_job(None, coarse, "job-2")


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_whenever_the_database_dies_the_job_ends_clearly_and_goes_on_where_it_was(
    hub, postgresql, monkeypatch
):
    server, sites = DyingServer(postgresql, monkeypatch), make_sites()
    summary, errors = server.until_done(
        lambda: go(lambda grid: run_fingerprint_job(grid, hub, "job-1"), sites)[0]
    )
    assert len(errors) > 20
    assert {"see that the database server runs" in error for error in errors} == {True}
    assert summary.accepted == (ADDRESS,)
    assert statuses(hub) == [FINISHED]
    assert {site.n_asked[MASK] for site in sites} == {1}
    assert np.array_equal(current(hub)[ADDRESS].sketches["histogram"].counts, counts(*NAMES))
