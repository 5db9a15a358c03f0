"""Sites whose images were sketched once for all tests, so that only the rounds are left to do."""

import pytest
from pooled_sites import EXACT, write_pooled_sites
from private_site import Colours

from site_agent import jobs


def _colours(patch):
    patch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    _colours(monkeypatch)


def _sketched(folder, **terms):
    cohort = write_pooled_sites(folder / "rehearsal", **terms)
    with pytest.MonkeyPatch.context() as patch:
        _colours(patch)
        cohort.begin(release=cohort.release(exact="exact_sum_because" in terms)).prepare("share")
    fresh = write_pooled_sites(folder / "sites", **terms)
    for name, site in cohort.sites.items():
        (site.state / "sketches").rename(fresh.sites[name].state / "sketches")
    return fresh


@pytest.fixture(scope="session")
def sketched(tmp_path_factory):
    """Sites that pool with noise, before any round."""
    return _sketched(tmp_path_factory.mktemp("noisy"))


@pytest.fixture(scope="session")
def sketched_exactly(tmp_path_factory):
    """Sites that pool exactly, before any round."""
    return _sketched(tmp_path_factory.mktemp("exact"), **EXACT)


@pytest.fixture
def cohort(sketched, tmp_path):
    """Sites of this test alone that pool with noise."""
    return sketched.copy_to(tmp_path / "sites")


@pytest.fixture
def exact_cohort(sketched_exactly, tmp_path):
    """Sites of this test alone that pool exactly."""
    return sketched_exactly.copy_to(tmp_path / "sites")
