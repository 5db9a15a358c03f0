"""A site whose training only counts epochs."""

import pytest
from transfer_site import CountingWork, write_transfer_site

from site_agent.transfer.participation import WORK


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    for kind in ("train", "search", "cotrain"):
        monkeypatch.setitem(WORK, kind, CountingWork)


@pytest.fixture
def anna(tmp_path):
    return write_transfer_site(tmp_path / "anna")
