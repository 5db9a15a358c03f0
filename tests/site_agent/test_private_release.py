"""A private release: drawn once, charged once, and refreshed as the policy says."""

import pytest
from private_site import Colours, write_private_site

from federation.fingerprint import Fingerprint
from site_agent import jobs


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


@pytest.fixture
def site(tmp_path):
    return write_private_site(tmp_path / "site")


def test_first(site):
    first = site.release()
    fp = Fingerprint.from_bytes(first)
    print(fp.privacy, fp.card, fp.provenance)
    assert site.release() == first == site.release("job-2")
    assert len(site.charges()) == 1
    assert site.findings() == ()
