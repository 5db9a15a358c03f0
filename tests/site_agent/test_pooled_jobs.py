"""What ordinary requests make a site do with a task that leaves only as part of a sum."""

import json

import pytest
from factories import make_job
from private_site import KEY, SPACE, Colours, write_private_site

from federation.fingerprint import Fingerprint, Provenance
from federation.messages import DONE, WITHHELD, ListenRequest
from federation.privacy.statement import PrivacyStatement
from federation.sampling import SamplingPlan
from federation.sketches import zeros
from federation.task_card import TaskCard
from federation.trust import TrustMode
from site_agent import jobs
from site_agent.local_ranking import rank_locally


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture
def site(tmp_path):
    site = write_private_site(tmp_path / "site")
    site.pool()
    return site


def exact(site_name, seed, mode=TrustMode.OPEN, **stated):
    return Fingerprint(
        site=site_name,
        card=TaskCard("lungs", 5, {}),
        space_id=SPACE.space_id,
        sketches={
            kind: sketch.update(SPACE.edges[:, seed : seed + 5].T) for kind, sketch in zeros(SPACE).items()
        },
        privacy=PrivacyStatement(mode, **stated),
        provenance=Provenance("0", SamplingPlan(None), "float32"),
    ).to_bytes()


def rank(site):
    catalogue = (exact("bern", 0), exact("chests", 1, TrustMode.POOLED, sites=3), exact("dorn", 2))
    request = ListenRequest(make_job(aggregator=KEY), SPACE, SamplingPlan(None), "js", catalogue)
    return rank_locally(site.open(), request).results[0].code


def test_a_request_for_fingerprints_gets_nothing_of_a_pooled_task(site, monkeypatch):
    monkeypatch.setattr(jobs, "sketch_once", lambda *_: pytest.fail("sketched"))
    result = site.ask()
    assert (result.code, result.fingerprint) == (WITHHELD, b"")
    assert not site.charges()


def test_a_pooled_task_ranks_the_catalogue_without_the_sum_that_it_is_part_of(site):
    assert rank(site) == DONE
    ranked = json.loads(site.open().state.ranking_path("lungs").read_text())
    assert {choice["source"] for choice in ranked} == {"bern/lungs", "dorn/lungs"}


def test_a_private_task_ranks_nothing(tmp_path):
    assert rank(write_private_site(tmp_path / "private")) == WITHHELD
