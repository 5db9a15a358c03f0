import pytest
from transfer_runs import Consortium
from transfer_sites import FakeSite

from aggregator import database


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    """These tests kill runs, not machines."""

    def configure(connection, record):
        real(connection, record)
        connection.execute("PRAGMA synchronous = OFF")

    real = database._configure_file
    monkeypatch.setattr(database, "_configure_file", configure)


@pytest.fixture
def consortium(tmp_path):
    sites = [FakeSite("anna", ["eyes"]), FakeSite("bern", ["skin"]), FakeSite("cork", ["lung"])]
    return Consortium(tmp_path, sites)
